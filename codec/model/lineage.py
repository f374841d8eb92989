"""What a model was trained from: ``base.json`` next to its weights.

Vectors of two models add up only where both began at the same weights, so a trained model names its base.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from codec.atomic import atomic_path
from codec.config import from_dict
from codec.errors import CodecError
from codec.model.fingerprint import decoder_fingerprint, fingerprint
from codec.model.network import Network

FILE = "base.json"


@dataclass(frozen=True)
class Base:
    """Content of ``base.json``: hashes of the weights at the start of training."""

    fingerprint: str
    """Of encoder and quantizer, or of all weights where a model has no such parts."""
    decoder: str | None = None
    """Of quantizer and decoder."""


def base_of(model: Network) -> Base:
    """The hashes of a model that others are trained from."""
    return Base(fingerprint(model), decoder_fingerprint(model))


def read_base(folder: Path) -> Base | None:
    """The base that a model's folder names, if it names one.

    Raises:
        CodecError: when the file is damaged.
    """
    path = folder / FILE
    try:
        return from_dict(Base, json.loads(path.read_text(encoding="utf-8")), FILE)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, CodecError) as error:
        reason = " ".join(str(error).split())
        raise CodecError(
            f"{path}: damaged ({reason}); get it again, or delete it to merge with --force"
        ) from None


def write_base(folder: Path, base: Base | None) -> None:
    """Write the file, or remove one that is left from another model where there is no base."""
    path = folder / FILE
    if base is None:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(base), indent=2) + "\n", encoding="utf-8")
