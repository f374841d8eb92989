"""Files of other projects, read without running what they hold: tensors by name, and a config."""

import json
import pickle
import re
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from codec.atomic import reason
from codec.errors import CodecError
from codec.hub.download import is_hub_id
from codec.merging.folding import fold

CONFIG = "config.json"
EXTRACTOR = "preprocessor_config.json"
_SUFFIXES = (".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt", ".dev")
_TRAINER_PACKAGE = re.compile(r"\w+Trainer_\d+")
"""Name of what the trainers of SpeechTokenizer and DM-Codec write, which has no suffix."""
_WRAPPERS = ("generator", "state_dict", "model_state_dict", "model", "best_state")
"""Keys under which training code keeps the weights beside its own state."""
_PREFIXES = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put in front of every name."""


@dataclass
class Checkpoint:
    """What a file of weights and the config beside it say.

    Attributes:
        path: of the weights.
        tensors: by name, float32, with weight norm folded into plain weights.
        config: of ``config.json`` beside it, or of the file itself; empty where there is none.
        extractor: settings of the feature extractor in ``preprocessor_config.json`` beside it, or none.
        notes: sentences for the user, on what was changed or assumed.
    """

    path: Path
    tensors: dict[str, Tensor]
    config: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    extractor: dict[str, Any] = field(default_factory=dict)

    def layers(self, pattern: str) -> list[int]:
        """The numbers that ``pattern``'s first group has in the tensors' names, each once, in order."""
        found = (re.match(pattern, name) for name in self.tensors)
        return sorted({int(match[1]) for match in found if match})

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor that decides the structure.

        Raises:
            CodecError: when it is not there.
        """
        if name not in self.tensors:
            raise CodecError(f"{self.path}: the tensor {name} is missing, so the structure cannot be known")
        return tuple(self.tensors[name].shape)


def open_checkpoint(source: Path) -> Checkpoint:
    """Read a file of weights, or a folder that has one.

    Raises:
        CodecError: when there is none, it is damaged, or reading it would run code.
    """
    path = _weights_file(source)
    config, extractor = (_read_config(path.parent / name) for name in (CONFIG, EXTRACTOR))
    content = _read(path)
    config = config or _own_config(content)
    tensors = _unwrap(content, path)
    notes = []
    halves = sorted({str(t.dtype)[6:] for t in tensors.values() if t.is_floating_point() and t.dtype != torch.float32})
    if halves:
        notes.append(f"weights in {' and '.join(halves)} were converted to float32")
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise CodecError(f"{path}: NaN or infinite weights in {listed(broken)}; take another checkpoint")
    return Checkpoint(path, fold(tensors), config, notes, extractor)


def listed(names: list[str], limit: int = 8) -> str:
    """The names with commas; of a long list the first ones, and how many follow."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _weights_file(source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        if is_hub_id(str(source)):
            raise CodecError(
                f"{source}: no such file or folder; if it is a model of the Hub, download it first and give the "
                f"FOLDER: hf download {source} --local-dir FOLDER"
            )
        raise CodecError(f"{source}: no such file or folder; give a checkpoint, or the folder that holds it")
    files = sorted(path for path in source.iterdir() if path.is_file())
    found = [p for p in files if p.suffix.lower() in _SUFFIXES or _TRAINER_PACKAGE.fullmatch(p.name)]
    for name in ("model.safetensors", "pytorch_model.bin"):
        # A folder of transformers may have both; they hold the same.
        found = [source / name] if source / name in found else found
    if len(found) != 1:
        if not found:
            raise CodecError(f"{source}: no file of weights in this folder ({', '.join(_SUFFIXES)})")
        have = listed([path.name for path in found])
        raise CodecError(f"{source}: holds several files of weights, {have}; give the path of one")
    return found[0]


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CodecError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(values, dict):
        raise CodecError(f"{path}: expected settings by name, got {type(values).__name__}")
    return values


def _own_config(content: Any) -> dict[str, Any]:
    """Settings that the weights' file has itself, as those of DAC do."""
    metadata = content.get("metadata") if isinstance(content, dict) else None
    settings = metadata.get("kwargs") if isinstance(metadata, dict) else None
    return dict(settings) if isinstance(settings, dict) else {}


def _read(path: Path) -> Any:
    """The content of a file, whatever form it has."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({reason(error)})") from None
    if head.startswith(b"version https://git-lfs"):
        raise CodecError(f"{path}: a Git LFS pointer in place of the weights; download the file itself")
    if head.lstrip()[:1] == b"<":
        raise CodecError(f"{path}: a web page in place of the weights; download the file itself")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return _unpickle(path, head)
    except (SafetensorError, OSError, EOFError, zipfile.BadZipFile) as error:
        words = " ".join(str(error).split())[:120]
        raise CodecError(f"{path}: damaged, or half a download ({words}); download it again") from None


def _unpickle(path: Path, head: bytes) -> Any:
    """A file of ``torch.save``, of which only tensors and plain data are taken."""
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise CodecError(f"{path}: a TorchScript program, which is code; give a file of its state_dict()")
    elif head and not head.startswith(b"\x80"):
        raise CodecError(f"{path}: not a file of weights, by its first bytes; expected {', '.join(_SUFFIXES)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the protocol of the pickle; the line below says more
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        names = re.findall(r"GLOBAL (\S+)", str(error))
        if not names and "operand" in str(error).lower():
            raise CodecError(
                f"{path}: a pickle that may run code; only tensors are read, so save a state_dict() with torch.save"
            ) from None
        if not names:
            raise CodecError(f"{path}: damaged, or no file of torch.save; download it again") from None
        raise CodecError(
            f"{path}: reading it would run {names[0]}; only tensors are read, so save its state_dict() alone"
        ) from None
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        words = " ".join(str(error).split())[:120]
        raise CodecError(f"{path}: damaged, or no file of torch.save ({words})") from None


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what a file holds, without what training code put around it."""
    while isinstance(content, dict):
        key = next((key for key in _WRAPPERS if isinstance(content.get(key), dict)), None)
        if key is None:
            break
        content = content[key]
    tensors = content if isinstance(content, dict) else {}
    tensors = {name: value for name, value in tensors.items() if isinstance(value, Tensor) and isinstance(name, str)}
    if not tensors:
        raise CodecError(f"{path}: no tensors by name in it; give a file of a model's state_dict()")
    while prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in tensors)), ""):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors
