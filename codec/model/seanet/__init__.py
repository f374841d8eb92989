"""The SEANet of SpeechTokenizer and DM-Codec, and its causal variant."""

from codec.model.seanet.config import SeanetConfig

__all__ = ["SeanetConfig"]
