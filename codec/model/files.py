"""A model on disk: a folder with ``config.json`` and ``model.safetensors``."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from codec.atomic import atomic_path, reason
from codec.engines import choose_engine
from codec.errors import CodecError
from codec.hub.download import download, is_hub_id
from codec.model.aliases import read_aliases, write_aliases
from codec.model.codec import Codec
from codec.model.config import config_to_json, load_config
from codec.model.shield import plain_torch
from codec.reading import is_regular, path_of

_PACKAGE = Path(__file__).resolve().parents[1]
# An installed wheel carries the checkpoints inside the package; a clone has them next to it.
_CHECKPOINT_ROOTS = (_PACKAGE / "checkpoints", _PACKAGE.parent / "checkpoints")


def load_model(
    name_or_path: str | Path = "default",
    device: str | torch.device = "auto",
    engine: str = "torch",
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Codec:
    """Load a model for inference.

    Args:
        name_or_path: a shipped checkpoint's name, a folder with ``config.json`` and ``model.safetensors``, or
            a model of the Hugging Face Hub, ``org/name`` or ``org/name@revision`` (docs/huggingface.md).
        device: ``auto`` (CUDA or MPS where there is one, else CPU), or as PyTorch has it: ``cpu``, ``cuda``,
            ``cuda:1``, ``mps``, a ``torch.device``.
        engine: what computes: ``torch``, ``compile``, ``graph``, ``onnx``, a folder of ``codec export``, or
            ``auto``, one that is fast and ready here (docs/export.md). All but ``torch`` keep the weights
            they got.
        revision: of a hub id: a branch, a tag or a commit.
        cache_dir: where models of the Hub are kept; the cache of ``HF_HOME`` by default.
        local_files_only: take a hub id from the cache without asking the network.

    Returns:
        The model in eval mode, in float32.

    Raises:
        CodecError: when the model, device or engine is missing, or the files are damaged or disagree.
    """
    with plain_torch():
        folder = find_model(name_or_path, revision, cache_dir, local_files_only)
        return _load(folder, pick_device(device), engine)


def load_weights(module: nn.Module, folder: Path, what: str) -> None:
    """Fill a module with ``model.safetensors``, converted to the module's types.

    Args:
        what: what the folder should be, for messages, such as ``a model``.

    Raises:
        CodecError: when the file is missing, damaged or of other tensors.
    """
    weights = folder / "model.safetensors"
    try:
        module.load_state_dict(load_file(weights))
    except FileNotFoundError:
        raise CodecError(f"{weights}: no such file; {what} is config.json + model.safetensors") from None
    except (SafetensorError, OSError) as error:
        raise CodecError(f"{weights}: damaged, or not a safetensors file ({error})") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CodecError(f"{weights}: does not fit config.json in the same folder ({reason})") from None


def _load(folder: Path, target: torch.device, engine: str) -> Codec:
    model = Codec(load_config(folder / "config.json"))
    load_weights(model, folder, "a model")
    model = model.eval().requires_grad_(False).to(target)
    model.aliases = read_aliases(folder)
    model.source = folder
    if engine != "torch":
        model.engine = choose_engine(model, engine, folder)
    return model


def save_model(model: Codec, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write ``config.json``, ``model.safetensors`` and earlier names of its tokens, each in one step.

    The codebooks stay float32 whatever ``dtype`` is: rounding them would change codes.
    """
    if not isinstance(model, Codec):
        raise CodecError(f"{type(model).__name__} is no model; the order is save(model, folder)")
    folder = Path(path_of(folder, "a model"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"{folder}: cannot be made ({reason(error)}); choose another folder") from None
    tensors = {
        name: tensor.detach().cpu().to(torch.float32 if name.startswith("quantizer.") else dtype)
        for name, tensor in model.state_dict().items()
    }
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    with atomic_path(folder / "model.safetensors") as temporary:
        temporary.write_bytes(content)
    with atomic_path(folder / "config.json") as temporary:
        temporary.write_text(config_to_json(model.config), encoding="utf-8")
    write_aliases(folder, model.aliases)


def find_model(
    name_or_path: str | Path,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """Folder of a model given by path, by the name of a shipped checkpoint or by hub id.

    A bare name means the shipped checkpoint, though a folder in the current one may have that name:
    write that as ``./NAME``, or give a :class:`~pathlib.Path`. A folder comes before a hub id of the same
    name, which is downloaded (:func:`codec.hub.download.download`).

    Raises:
        CodecError: when there is none of them, or a revision of what is not on the Hub.
    """
    path = Path(path_of(name_or_path, "a model"))
    folder = shipped_model(name_or_path) or path
    if is_regular(folder / "config.json"):
        if revision is not None:
            raise CodecError(f"{folder} is a folder here, which has no revision {revision!r}; leave it out")
        return folder
    # An existing folder without a model is a mistake to report, nothing to download.
    if isinstance(name_or_path, str) and is_hub_id(name_or_path) and not path.exists():
        return download(name_or_path, revision, cache_dir, local_files_only)
    shipped = sorted({p.parent.name for root in _CHECKPOINT_ROOTS for p in root.glob("*/config.json")})
    raise CodecError(
        f"no model {str(name_or_path)!r}: neither a folder with config.json nor a shipped "
        f"checkpoint ({', '.join(shipped) or 'none found'})"
    )


def shipped_model(name: str | Path) -> Path | None:
    """Folder of the shipped checkpoint that a bare ``name`` means; None where it is a path or no such checkpoint."""
    path = Path(path_of(name, "a model"))
    folders = [root / path for root in _CHECKPOINT_ROOTS] if path.name == name else []
    return next((folder for folder in folders if is_regular(folder / "config.json")), None)


def pick_device(device: str | torch.device) -> torch.device:
    """``torch.device`` for ``auto | cpu | cuda | cuda:N | mps``, or a device as it is.

    Raises:
        CodecError: for another name, or a device that this machine lacks.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    available = {"cpu": 1, "cuda": count, "mps": int(torch.backends.mps.is_available())}
    if device == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if available[name]))
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in available:
        raise CodecError(f"unknown device {str(device)!r}; choose auto, cpu, cuda or mps")
    if (found.index or 0) >= available[found.type]:
        raise CodecError(f"device {str(device)!r} is not available here; use auto or cpu")
    return found
