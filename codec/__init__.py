"""codec: a neural speech tokenizer. Waveforms to discrete tokens and back."""

import importlib
from typing import TYPE_CHECKING, Any

from codec.deprecation import keep_moved_modules
from codec.errors import CodecError
from codec.version import __version__

if TYPE_CHECKING:
    from codec.audio.io import Audio, load_audio, save_audio
    from codec.merging.merge import merge
    from codec.model.codec import Codec, Latency
    from codec.model.config import CodecConfig
    from codec.model.files import load_model as load
    from codec.model.files import save_model as save
    from codec.pretraining.models.files import load_pretrained
    from codec.students.files import load_student
    from codec.tokens.files import load_tokens, save_tokens
    from codec.tokens.tokens import Tokens


__all__ = [
    "Audio",
    "Codec",
    "CodecConfig",
    "CodecError",
    "Latency",
    "Tokens",
    "__version__",
    "load",
    "load_audio",
    "load_pretrained",
    "load_student",
    "load_tokens",
    "merge",
    "save",
    "save_audio",
    "save_tokens",
]

keep_moved_modules()

# Loaded on first use: torch takes seconds to import, and `codec --help` does not need it.
_LAZY = {
    "Audio": ("codec.audio.io", "Audio"),
    "Codec": ("codec.model.codec", "Codec"),
    "CodecConfig": ("codec.model.config", "CodecConfig"),
    "Latency": ("codec.model.codec", "Latency"),
    "Tokens": ("codec.tokens.tokens", "Tokens"),
    "load": ("codec.model.files", "load_model"),
    "load_audio": ("codec.audio.io", "load_audio"),
    "load_pretrained": ("codec.pretraining.models.files", "load_pretrained"),
    "load_student": ("codec.students.files", "load_student"),
    "load_tokens": ("codec.tokens.files", "load_tokens"),
    "merge": ("codec.merging.merge", "merge"),
    "save": ("codec.model.files", "save_model"),
    "save_audio": ("codec.audio.io", "save_audio"),
    "save_tokens": ("codec.tokens.files", "save_tokens"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'codec' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})

