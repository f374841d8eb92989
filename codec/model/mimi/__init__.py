"""The network of Mimi: SEANet, a transformer over its frames, and half as many frames for the tokens."""

from codec.model.mimi.config import MimiConfig
from codec.model.mimi.decoder import MimiDecoder
from codec.model.mimi.encoder import MimiEncoder
from codec.model.registry import architecture

__all__ = ["MimiConfig", "MimiDecoder", "MimiEncoder"]

architecture("mimi", MimiConfig, MimiEncoder, MimiDecoder)
