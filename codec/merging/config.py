"""Settings of ``codec merge``; those of Speech-FT's merge files are read as they are."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from codec.errors import CodecError
from codec.eval.options import ClipsConfig
from codec.merging.vectors import Method

ALPHA = 0.25
"""Speech-FT's, for every task."""
_FIRST = {"base_model_ckpt_path", "base_model_name", "finetune_model_paths", "finetune_model_names"}
_ENCODERS = {
    "hubert": "facebook/hubert-base-ls960",
    "wav2vec2": "facebook/wav2vec2-base",
    "wavlm_base_plus": "microsoft/wavlm-base-plus",
}


@dataclass(frozen=True)
class BranchConfig:
    """A model that was trained from the base."""

    path: str
    """Folder of the model."""
    weight: float | dict[str, float] | None = None
    """Lambda, of any sign; or lambdas of tensors by pattern, the first that fits (others have 0)."""
    name: str | None = None
    """In merge.json; the folder's by default."""


@dataclass(frozen=True)
class LearnConfig:
    """Lambdas by gradient: the branches' weights are where they start."""

    clips: ClipsConfig
    """Recordings to reconstruct; report on others."""
    per: Literal["none", "model", "layer"] = "none"
    """One lambda for each model, or for each of its layers; learn nothing by default."""
    steps: int = 100
    lr: float = 0.05
    batch_size: int = 4
    """Crops of a step."""
    seconds: float = 2.0
    """Of a crop."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.lr <= 0 or self.seconds <= 0:
            raise CodecError("config learn: steps, batch_size, lr and seconds must be positive")


@dataclass(frozen=True)
class SweepConfig:
    """One merge for each value, each measured on the recordings of ``clips``."""

    values: str = ""
    """FIRST:LAST:STEP, or numbers with commas between; no sweep by default."""
    of: Literal["alpha", "trade"] = "alpha"
    """What the values are: alpha for all models, or lambda of the first of two, the second getting the rest."""
    measures: tuple[str, ...] = ("stoi",)
    """Of codec eval; how many tokens are the base's is always measured."""
    x: str = "tokens_first"
    """Figure on the frontier's horizontal axis."""
    y: str = "stoi"
    """On its vertical axis."""
    asr: str | None = None
    """Recogniser for the measure wer."""
    speaker_model: str | None = None
    """Model for the measure xvector."""
    tag_model: str | None = None
    """Folder of musicnn for the measure tags."""

    def __post_init__(self) -> None:
        if self.values:
            sweep_values(self.values)


@dataclass(frozen=True)
class MergeConfig:
    """A merge."""

    base: str
    """The model that all branches were trained from: a folder, a shipped model's name, or a hub id."""
    models: tuple[BranchConfig, ...]
    """The branches."""
    output_dir: str
    """Folder of the merged model and merge.json."""
    merge_method: Method = "linear"
    alpha: float | None = None
    """In place of weights: alpha / K for each of K models (Speech-FT; 0.25 there). A sweep sets its own lambdas,
    whatever is given here. The model that is written next to it has this alpha, else the weights where all models
    have one, else an alpha of 0.25."""
    density: float = 1.0
    """Share of entries of each task vector that ties or dare keep."""
    seed: int = 0
    """Of what dare drops."""
    include: tuple[str, ...] | None = None
    """Tensors to merge, as patterns; encoder.* of a codec, all of a transformers encoder by default."""
    exclude: tuple[str, ...] = ()
    """Patterns of tensors that stay the base's all the same."""
    on_mismatch: Literal["error", "skip"] = "error"
    """Tensors that a branch lacks or has in another shape: refuse, or keep the base's."""
    force: bool = False
    """Merge what would be refused: another base, other codebooks, broken tensors (the base's are kept)."""
    clips: ClipsConfig | None = None
    """Recordings for the sweep, and for a report of how many tokens stay the base's."""
    learn: LearnConfig | None = None
    sweep: SweepConfig = field(default_factory=SweepConfig)

    def __post_init__(self) -> None:
        if not self.models:
            raise CodecError("config models: none given; name at least one branch of the base")
        if not 0 < self.density <= 1:
            raise CodecError(f"config density: expected a number in (0, 1], got {self.density}")
        if self.merge_method == "linear" and self.density != 1:
            raise CodecError("config density: linear keeps all entries; set merge_method to ties or dare")
        names = self.names
        if len(set(names)) < len(names):
            raise CodecError(
                f"config models: two are called {max(names, key=names.count)!r}; give each a name"
            )
        self._check_weights()
        if self.learns is not None and self.merge_method != "linear":
            raise CodecError(f"config learn: works with merge_method linear, not {self.merge_method}")
        if not self.sweep.values:
            return
        if self.clips is None:
            raise CodecError("config clips: none given, and the sweep measures on them")
        if self.sweep.of == "trade" and len(self.models) != 2:
            raise CodecError(
                f"config sweep.of: trade is between two models, and there are {len(self.models)}"
            )

    def _check_weights(self) -> None:
        given = [model.weight is not None for model in self.models]
        if self.sweep.values:
            # The sweep sets lambdas itself; the model that is written next to it gets the usual share.
            if self.alpha is None and not all(given):
                object.__setattr__(self, "alpha", ALPHA)
            return
        for number, model in enumerate(self.models):
            where = f"config models[{number}].weight"
            if self.alpha is not None and model.weight is not None:
                raise CodecError(
                    f"{where}: there is an alpha of {self.alpha:g} as well, which takes the place of all weights; "
                    "remove the weights, or set alpha=null"
                )
            if self.alpha is None and model.weight is None:
                raise CodecError(f"{where}: there is neither a weight nor an alpha; give one of them")

    @property
    def learns(self) -> LearnConfig | None:
        """What is learned, if anything is."""
        return None if self.learn is None or self.learn.per == "none" else self.learn

    @property
    def names(self) -> list[str]:
        """Of the branches."""
        return [model.name or _folder_name(model.path) for model in self.models]

    @property
    def weights(self) -> list[float | dict[str, float]]:
        """Lambda of each branch, as configured."""
        if self.alpha is not None:
            return [self.alpha / len(self.models)] * len(self.models)
        return [model.weight if model.weight is not None else 0.0 for model in self.models]


def native(values: dict[str, Any]) -> dict[str, Any]:
    """Settings with Speech-FT's keys in place of ours, which they become; others as they are.

    Raises:
        CodecError: when a base or a model is given twice, or the base is an encoder that transformers lacks.
    """
    if not _FIRST & values.keys():
        return values
    values = dict(values)
    for ours, theirs in (("base", _FIRST - {"finetune_model_paths"}), ("models", {"finetune_model_paths"})):
        if ours in values and theirs & values.keys():
            raise CodecError(f"config {ours}: {min(theirs & values.keys())} says it too; give one of them")
    name, checkpoint = values.pop("base_model_name", None), values.pop("base_model_ckpt_path", None)
    if checkpoint or name:
        values["base"] = checkpoint or _encoder(name)
    paths, names = values.pop("finetune_model_paths", None), values.pop("finetune_model_names", None)
    if paths is not None:
        paths = [paths] if isinstance(paths, str) else list(paths)
        # The names are not used there, and may be too few.
        names = names if isinstance(names, list) and len(names) == len(paths) else [None] * len(paths)
        values["models"] = [{"path": path, "name": name} for path, name in zip(paths, names, strict=True)]
        values.setdefault("alpha", ALPHA)
    return values


def chosen(name: str, include: Iterable[str], exclude: Iterable[str]) -> bool:
    """Whether a tensor's name fits a pattern to merge and none to leave."""
    return any(fnmatchcase(name, p) for p in include) and not any(fnmatchcase(name, p) for p in exclude)


def weight_of(name: str, weight: float | dict[str, float]) -> float:
    """Lambda of a tensor: a number, or that of the first pattern that fits."""
    if not isinstance(weight, dict):
        return float(weight)
    return float(next((value for pattern, value in weight.items() if fnmatchcase(name, pattern)), 0.0))


def sweep_values(text: str) -> list[float]:
    """Numbers of ``FIRST:LAST:STEP``, both ends included, or of a list with commas.

    Raises:
        CodecError: for another text, or more than 1000 numbers.
    """
    try:
        if ":" not in text:
            return [float(part) for part in text.split(",")]
        first, last, step = (float(part) for part in text.split(":"))
        count = int((last - first) / step + 1e-9) + 1
        if not 1 <= count <= 1000:
            raise ValueError
        # Rounded, since 3 * 0.1 is not 0.3.
        return [round(first + number * step, 10) for number in range(count)]
    except (ValueError, ZeroDivisionError, OverflowError):
        raise CodecError(f"config sweep.values: {text!r} is neither 0:1:0.1 nor 0,0.25,1") from None


def _encoder(name: str) -> str:
    if name not in _ENCODERS:
        close = difflib.get_close_matches(str(name), _ENCODERS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise CodecError(
            f"config base_model_name: transformers has no {name!r}; {hint}known: {', '.join(_ENCODERS)}. "
            "base_model_ckpt_path takes any folder"
        )
    return _ENCODERS[name]


def _folder_name(path: str) -> str:
    """The folder's name; the run's, where it is that run's export."""
    folder = Path(path)
    return folder.parent.name if folder.name == "export" and folder.parent.name else folder.name
