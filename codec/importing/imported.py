"""From a checkpoint to a model of ours, by one of the kinds that are known."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.importing.checkpoint import CONFIG, Checkpoint, listed, open_checkpoint
from codec.importing.unsupported import check_supported
from codec.model.codec import Codec
from codec.model.config import CodecConfig
from codec.registry import Registry

Plan = Mapping[str, str | list[str]]
"""Tensor of our model to the name of the one that it is, or to the list of those whose stack it is."""


@dataclass(frozen=True)
class Translation:
    """How a checkpoint becomes a model of ours.

    Attributes:
        config: of our model.
        plan: for every tensor of our model.
        unused: names of tensors that inference does not need.
        notes: sentences for the user.
    """

    config: CodecConfig
    plan: Plan
    unused: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


class Kind(Protocol):
    """Checkpoints of one project."""

    title: str
    """As people know it."""

    def recognizes(self, checkpoint: Checkpoint) -> bool:
        """Whether the names of the tensors are of this kind."""

    def translate(self, checkpoint: Checkpoint) -> Translation:
        """
        Raises:
            CodecError: when the structure is one that we have not, or the config contradicts the tensors.
        """


KINDS: Registry[Kind] = Registry("kind of checkpoint")
"""By the names that ``--kind`` takes."""


@dataclass(frozen=True)
class Imported:
    """A model that was read.

    Attributes:
        model: in eval mode, on the CPU.
        kind: its name in :data:`KINDS`.
        notes: what was changed or assumed.
    """

    model: Codec
    kind: str
    notes: tuple[str, ...]


def import_checkpoint(source: str | Path, kind: str | None = None) -> Imported:
    """Read the checkpoint of another project as a model.

    Args:
        source: its file, or a folder with one file of weights and perhaps ``config.json``.
        kind: what it is; by the names of its tensors by default.

    Raises:
        CodecError: for an unknown kind or structure, missing, superfluous or misshapen tensors, a file that is
            damaged or would run code.
    """
    known = KINDS.find(kind) if kind is not None else None
    checkpoint = open_checkpoint(Path(source))
    check_supported(checkpoint)
    found = next((name for name, each in KINDS.items() if each.recognizes(checkpoint)), None)
    if known is not None and not known.recognizes(checkpoint):
        is_what = f"it is {KINDS[found].title}: --kind {found}" if found else "it is of no other known kind either"
        raise CodecError(f"{checkpoint.path}: not a checkpoint of {known.title}; {is_what}")
    kind = kind or found
    if kind is None:
        if {"architecture", "quantizer", "network"} <= checkpoint.config.keys():
            raise CodecError(f"{source}: is a model of codec already; give this folder to --model")
        few = listed(sorted(checkpoint.tensors), 3)
        raise CodecError(f"{checkpoint.path}: of no known kind ({', '.join(sorted(KINDS))}); its tensors are {few}")
    try:
        translation = KINDS[kind].translate(checkpoint)
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        # The config is another project's, and may hold anything.
        where = checkpoint.path.parent / CONFIG
        raise CodecError(f"{where}: a setting is of a wrong type or value ({error}); correct the config") from error
    with torch.device("meta"):
        model = Codec(translation.config)
    model.load_state_dict(_assemble(model.state_dict(), translation, checkpoint), assign=True)
    notes = (*checkpoint.notes, *translation.notes)
    return Imported(model.eval().requires_grad_(False), kind, notes)


def _assemble(
    expected: Mapping[str, Tensor], translation: Translation, checkpoint: Checkpoint
) -> dict[str, Tensor]:
    """The state dict of our model.

    Raises:
        CodecError: with the list of the tensors that are missing, superfluous or misshapen.
    """
    given, plan = checkpoint.tensors, translation.plan
    assert plan.keys() == expected.keys(), sorted(plan.keys() ^ expected.keys())
    wanted: dict[str, torch.Size] = {}
    for target, sources in plan.items():
        shape = expected[target].shape
        wanted |= {sources: shape} if isinstance(sources, str) else dict.fromkeys(sources, shape[1:])
    problems = {
        "missing": [name for name in wanted if name not in given],
        "not expected": sorted(given.keys() - wanted.keys() - translation.unused),
        "misshapen": [
            f"{name} {tuple(given[name].shape)} where {tuple(shape)} is expected"
            for name, shape in wanted.items()
            if name in given and not _fits(given[name].shape, shape)
        ],
    }
    if found := [f"{what}: {listed(names)}" for what, names in problems.items() if names]:
        raise CodecError(f"{checkpoint.path}: its tensors do not fit its structure; {'; '.join(found)}")
    parts = {name: given[name].reshape(shape).contiguous() for name, shape in wanted.items()}
    return {
        target: parts[sources] if isinstance(sources, str) else torch.stack([parts[name] for name in sources])
        for target, sources in plan.items()
    }


def _fits(shape: torch.Size, expected: torch.Size) -> bool:
    """Whether they are equal, but for ones at the end: a convolution of kernel 1 is a linear layer."""
    longest = max(len(shape), len(expected))
    padded = [(*sizes, *[1] * (longest - len(sizes))) for sizes in (shape, expected)]
    return padded[0] == padded[1]
