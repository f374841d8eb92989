"""What may not be merged, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.merging.vectors import State, cosine

SAME_START = 0.5
"""Least cosine of a branch's weights and the base's where the branch does not name its base. With different
starts it is about 0 (HuBERT and MERT: 0.02), and fine-tuning turns weights by far less than half a right angle."""


@dataclass(frozen=True)
class Source:
    """A model as the merge sees it.

    Attributes:
        name: in messages and in merge.json.
        path: as the user wrote it.
        state: all its tensors, weight norm folded.
        hashes: of its weights, by what they identify.
        base: the hashes that it names as its base's, if it names one.
    """

    name: str
    path: str
    state: State
    hashes: dict[str, str | None]
    base: dict[str, str | None] | None = None


@dataclass(frozen=True)
class Fit:
    """What can be merged.

    Attributes:
        names: of tensors that all models have alike.
        objections: one line for each thing that is wrong.
    """

    names: list[str]
    objections: list[str] = field(default_factory=list)


def compare_tensors(base: Source, branches: Sequence[Source], names: Sequence[str], skip: bool) -> Fit:
    """Which of the base's tensors ``names`` can be merged.

    Args:
        skip: whether tensors that a branch lacks, or has in another shape, are no objection.
    """
    bad: set[str] = set()
    objections: list[str] = []

    def object_to(source: Source, wrong: Sequence[str], sentence: str, advice: str) -> None:
        if wrong:
            bad.update(wrong)
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            objections.append(f"{source.path}: {sentence.format(wrong[0] + more)}; {advice}")

    for source in branches:
        missing = [name for name in names if name not in source.state]
        other = [n for n in names if n in source.state and source.state[n].shape != base.state[n].shape]
        beyond = [name for name in source.state if name not in base.state]
        if skip:
            bad.update(missing + other)
            continue
        advice = f"name a model of the base's architecture ({base.path})"
        object_to(source, missing, "lacks the base's tensor {}", advice)
        object_to(source, other, "tensor {} has another shape than the base's", advice)
        object_to(source, beyond, "has tensor {}, which the base lacks", advice)
    for source in (base, *branches):
        broken = [name for name in names if name in source.state and not _finite(source.state[name])]
        object_to(source, broken, "tensor {} holds NaN or infinite values", "take an earlier checkpoint")
    return Fit([name for name in names if name not in bad], objections)


def compare_bases(
    base: Source, branches: Iterable[Source], parts: Sequence[str], must_name: bool
) -> list[str]:
    """Objections to branches of another base.

    Args:
        parts: names of the hashes that have to be equal.
        must_name: object to a branch that names no base; otherwise its weights have to resemble the base's.
    """
    objections = []
    for source in branches:
        if source.base is not None:
            wrong = [part for part in parts if source.base.get(part) != base.hashes[part]]
            if wrong:
                objections.append(
                    f"{source.path}: was trained from {source.base.get(wrong[0])}, not from "
                    f"{base.hashes[wrong[0]]} ({base.path}); name its own base"
                )
        elif must_name:
            if source.hashes != base.hashes:
                objections.append(
                    f"{source.path}: names no base (base.json), so that nothing shows that it was trained from "
                    f"{base.path}; train it with init_from"
                )
        elif (likeness := _likeness(base.state, source.state)) is not None and likeness < SAME_START:
            objections.append(
                f"{source.path}: its weights have a cosine of {likeness:.2f} with those of {base.path}, so it "
                "was not trained from them; name its own base"
            )
    return objections


def compare_codebooks(base: Source, branches: Iterable[Source], prefix: str = "quantizer.") -> list[str]:
    """Objections to branches whose quantizer is not the base's: the same code then means other things."""
    mine = {name: tensor for name, tensor in base.state.items() if name.startswith(prefix)}
    return [
        f"{source.path}: its codebooks are not those of {base.path}; train it with freeze: [quantizer]"
        for source in branches
        if not _equal(mine, {name: t for name, t in source.state.items() if name.startswith(prefix)})
    ]


def refuse(objections: Sequence[str], force: bool) -> list[str]:
    """The objections, when the merge is forced all the same.

    Raises:
        CodecError: of the first one, otherwise.
    """
    if objections and not force:
        more = f" (and {len(objections) - 1} more)" if len(objections) > 1 else ""
        raise CodecError(f"{objections[0]}{more}; --force merges all the same")
    return list(objections)


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _equal(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _likeness(base: State, branch: State) -> float | None:
    """Cosine over matrices: scales and norms are alike in all models, trained or not."""
    names = [
        name
        for name, tensor in base.items()
        if tensor.ndim > 1
        and tensor.is_floating_point()
        and name in branch
        and branch[name].shape == tensor.shape
    ]
    return cosine({n: base[n] for n in names}, {n: branch[n] for n in names})
