"""Merging codecs: the encoder is merged, codebooks and decoder are the base's.

Codes are labels of codebook entries, so codebooks of branches must be the base's. The base's decoder makes
audio of all merges, and so shows what a merge did to the tokens.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from codec.atomic import atomic_path
from codec.errors import CodecError
from codec.eval.training import FILE as TRAINING_FILE
from codec.eval.training import Training, read_training
from codec.merging.checks import Source
from codec.model.codec import Codec
from codec.model.files import find_model, load_model, save_model
from codec.model.fingerprint import token_settings
from codec.model.lineage import base_of, read_base, write_base

INCLUDE = ("encoder.*",)
QUANTIZER = "quantizer."
_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")


@dataclasses.dataclass(frozen=True)
class CodecSource(Source):
    """A codec.

    Attributes:
        model: it, on the CPU.
        folder: where it is; ``None`` of a model in memory.
        training: the losses it tells.
    """

    model: Codec = dataclasses.field(kw_only=True)
    folder: Path | None = dataclasses.field(kw_only=True)
    training: Training | None = dataclasses.field(kw_only=True)


def read_codec(path: str, name: str) -> CodecSource:
    """A codec's folder, or a shipped codec.

    Raises:
        CodecError: when it cannot be loaded.
    """
    folder = find_model(path)
    model, base = load_model(folder, "cpu"), read_base(folder)
    return CodecSource(
        name,
        path,
        model.state_dict(),
        hashes_of(model),
        None if base is None else dataclasses.asdict(base),
        model=model,
        folder=folder,
        training=read_training(folder),
    )


def hashes_of(model: Codec) -> dict[str, str | None]:
    """Those of a model as the base of others."""
    return dataclasses.asdict(base_of(model))


def compare_settings(base: CodecSource, branches: Iterable[CodecSource]) -> list[str]:
    """Objections to branches whose encoder or quantizer has other settings, which tensors need not show."""
    mine = token_settings(base.model)
    objections = []
    for source in branches:
        theirs = token_settings(source.model)
        wrong = [key for key in mine if mine[key] != theirs[key]]
        if wrong:
            objections.append(
                f"{source.path}: config.json has {wrong[0]} {theirs[wrong[0]]}, the base {mine[wrong[0]]}; "
                "name a model with the base's settings"
            )
    return objections


def is_mergeable(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is a weight: no counter, no statistic of a batch norm."""
    return tensor.is_floating_point() and not name.endswith(_STATISTICS)


def with_tensors(base: Codec, merged: Mapping[str, Tensor]) -> Codec:
    """A copy of ``base`` with the tensors ``merged`` in place of its own, in eval mode."""
    model = Codec(base.config)
    model.load_state_dict({**base.state_dict(), **merged})
    # They count for the base's fingerprint alone.
    model.aliases = base.aliases
    return model.eval().requires_grad_(False)


def save_codec(model: Codec, base: CodecSource, branches: Sequence[CodecSource], folder: Path) -> None:
    """Write the model, the hashes of its base, and the losses that the base and branches tell."""
    save_model(model, folder)
    write_base(folder, base_of(base.model))
    known = [source.training for source in (base, *branches)]
    path = folder / TRAINING_FILE
    if any(training is None for training in known):
        # One that does not tell may have been trained with anything.
        path.unlink(missing_ok=True)
        return
    losses = dict.fromkeys(loss for training in known if training for loss in training.losses)
    with atomic_path(path) as temporary:
        text = json.dumps(dataclasses.asdict(Training(list(losses))), indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def check_patterns(names: Iterable[str]) -> None:
    """Raise a :class:`CodecError` when a codebook is among the tensors to merge."""
    wrong = [name for name in names if name.startswith(QUANTIZER)]
    if wrong:
        raise CodecError(f"config include: {wrong[0]} is never merged, since codes are labels; take it out")
