"""Merging speech encoders of transformers: HuBERT, wav2vec 2.0, WavLM and their kin.

A fine-tuned model may carry a task head (``HubertForCTC``): its encoder is merged, the head stays behind. The
result is a folder that ``from_pretrained`` loads.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from codec.atomic import atomic_path
from codec.encoders.hub import load_pretrained
from codec.errors import CodecError
from codec.merging.checks import Source
from codec.merging.folding import fold, split
from codec.merging.vectors import State
from codec.model.lineage import Base, read_base, write_base

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FAMILIES = (
    "hubert",
    "wav2vec2",
    "wavlm",
    "unispeech",
    "unispeech-sat",
    "data2vec-audio",
    "wav2vec2-conformer",
)
"""``model_type`` in the config.json of encoders that are merged."""
INCLUDE = ("*",)
_BESIDE = ("preprocessor_config.json", "processor_config.json")


@dataclasses.dataclass(frozen=True)
class EncoderSource(Source):
    """An encoder of transformers.

    Attributes:
        model: it, on the CPU, without a head.
        raw: its tensors in the form in which it has them.
    """

    model: "PreTrainedModel" = dataclasses.field(kw_only=True)
    raw: State = dataclasses.field(kw_only=True)


def is_encoder(path: str) -> bool:
    """Whether ``path`` is a transformers model's folder, or may be a hub id.

    Raises:
        CodecError: for a file, as s3prl's and fairseq's checkpoints are.
    """
    place = Path(path).expanduser()
    if place.is_file() or place.suffix in (".pt", ".pth", ".ckpt", ".bin"):
        raise CodecError(
            f"{path}: a pickled checkpoint, which is not read; name the folder that save_pretrained writes"
        )
    try:
        values = json.loads((place / "config.json").read_text(encoding="utf-8"))
        return isinstance(values, dict) and "model_type" in values
    except (OSError, ValueError):
        # Hub ids are OWNER/NAME; a folder that is not there is reported as such when it is opened.
        return not place.exists() and path.count("/") == 1 and not path.startswith((".", "/", "~"))


def read_encoder(path: str, name: str) -> EncoderSource:
    """An encoder's folder or hub id.

    Raises:
        CodecError: when it cannot be loaded, is of another family, or lacks tensors.
    """
    from transformers import AutoConfig, AutoModel

    config = load_pretrained(AutoConfig, path)
    if config.model_type not in FAMILIES:
        raise CodecError(f"{path}: a model of type {config.model_type!r}; merged are {', '.join(FAMILIES)}")
    try:
        model, info = load_pretrained(AutoModel, path, config=config, output_loading_info=True, dtype="auto")
    except RuntimeError as error:
        raise CodecError(f"{path}: does not fit its config.json ({_one_line(error)})") from None
    if info["missing_keys"]:
        raise CodecError(
            f"{path}: lacks tensor {min(info['missing_keys'])} of its own encoder; save it again"
        )
    raw = {name: tensor.detach().clone() for name, tensor in model.eval().state_dict().items()}
    folder = Path(path).expanduser()
    base = read_base(folder) if folder.is_dir() else None
    hashes = {"fingerprint": state_hash(raw), "decoder": None}
    recorded = None if base is None else dataclasses.asdict(base)
    return EncoderSource(name, path, fold(raw), hashes, recorded, model=model, raw=raw)


def state_hash(state: State) -> str:
    """16 hex digits of SHA-256 over names, shapes and values of all tensors."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def with_tensors(
    base: EncoderSource, merged: Mapping[str, Tensor], origins: list[State]
) -> "PreTrainedModel":
    """The base's model, changed in place to have the tensors ``merged`` (folded).

    Args:
        origins: raw states, whose g and v are kept where the weight is theirs.
    """
    state = split({**base.state, **merged}, base.raw, [base.raw, *origins])
    base.model.load_state_dict(state)
    return base.model


def save_encoder(model: "PreTrainedModel", base: EncoderSource, folder: Path) -> None:
    """Write the model, the hash of its base, and the base's preprocessor where it has one."""
    model.save_pretrained(folder)
    write_base(folder, Base(state_hash(base.raw)))
    for name in _BESIDE:
        source = Path(base.path).expanduser() / name
        if source.is_file():
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(source, temporary)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
