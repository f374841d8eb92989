"""The network of DAC, which sees the whole recording."""

from codec.model.dac.config import DacConfig
from codec.model.dac.decoder import DacDecoder
from codec.model.dac.encoder import DacEncoder
from codec.model.registry import architecture

__all__ = ["DacConfig", "DacDecoder", "DacEncoder"]

architecture("dac", DacConfig, DacEncoder, DacDecoder)
