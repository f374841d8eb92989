"""The SEANet of SpeechTokenizer and DM-Codec, and its causal variant."""

from codec.model.registry import architecture
from codec.model.seanet.config import SeanetConfig
from codec.model.seanet.decoder import SeanetDecoder
from codec.model.seanet.encoder import SeanetEncoder

__all__ = ["SeanetConfig", "SeanetDecoder", "SeanetEncoder"]

architecture("seanet", SeanetConfig, SeanetEncoder, SeanetDecoder)
