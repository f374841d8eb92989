"""codec: a neural speech tokenizer. Waveforms to discrete tokens and back."""

from codec.errors import CodecError
from codec.model.codec import Codec, Latency
from codec.model.config import CodecConfig
from codec.model.files import load_model as load
from codec.model.files import save_model as save
from codec.tokens.tokens import Tokens

__version__ = "0.1.0"

__all__ = ["Codec", "CodecConfig", "CodecError", "Latency", "Tokens", "load", "save"]
