"""A merge from settings to a model: read, check, combine, describe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from codec.errors import CodecError
from codec.merging import checks, codecs, encoders
from codec.merging.checks import Source
from codec.merging.codecs import CodecSource
from codec.merging.config import BranchConfig, MergeConfig, chosen, weight_of
from codec.merging.encoders import EncoderSource
from codec.merging.report import Report, describe, write_report
from codec.merging.vectors import Method, Recipe, combine
from codec.model.codec import Codec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Weight = float | dict[str, float]
"""Lambda of a branch, or lambdas of its tensors by pattern."""


@dataclass(frozen=True)
class Family:
    """Models that belong together, checked.

    Attributes:
        base: theta0.
        branches: theta_k, in the order of the settings.
        names: tensors to merge; the others are the base's.
        recipe: how.
        forced: objections that were overruled.
    """

    base: Source
    branches: Sequence[Source]
    names: list[str]
    recipe: Recipe
    forced: list[str]

    @property
    def start(self) -> dict[str, Tensor]:
        """The base's tensors that are merged."""
        return {name: self.base.state[name] for name in self.names}

    def combine(self, weights: Sequence[Weight]) -> dict[str, Tensor]:
        """The merged tensors for a lambda of each branch."""
        by_name = [{name: weight_of(name, weight) for name in self.names} for weight in weights]
        # Equal weights are one branch to DARE, wherever they are in the list.
        keys = [str(source.hashes) for source in self.branches]
        return combine(self.start, [source.state for source in self.branches], by_name, self.recipe, keys)

    def model(self, weights: Sequence[Weight]) -> Codec:
        """The merged codec.

        Raises:
            CodecError: when these are no codecs.
        """
        return codecs.with_tensors(self.codec, self.combine(weights))

    @property
    def codec(self) -> Codec:
        """The base as a codec.

        Raises:
            CodecError: when it is none.
        """
        if not isinstance(self.base, CodecSource):
            raise CodecError(f"{self.base.path}: no codec, so it has no decoder and no tokens to measure")
        return self.base.model


@dataclass(frozen=True)
class Merged:
    """A finished merge.

    Attributes:
        model: a :class:`codec.Codec`, or a model of transformers.
        report: the content of ``merge.json``.
        family: what it was made of.
    """

    model: "Codec | PreTrainedModel"
    report: Report
    family: Family


def merge(  # noqa: PLR0913  (the settings of one call, by name)
    base: str | Path,
    models: Mapping[str | Path, Weight] | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    alpha: float | None = None,
    method: Method = "linear",
    density: float = 1.0,
    seed: int = 0,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    force: bool = False,
) -> Merged:
    """Merge models that were trained from one base: ``theta0 + sum_k lambda_k (theta_k - theta0)``.

    Args:
        base: theta0: a codec's folder or name, or an encoder of transformers.
        models: lambda_k of each branch by its folder; folders alone with ``alpha``.
        output: folder to write model and ``merge.json`` to; nothing is written by default.
        alpha: ``lambda_k = alpha / K`` (Speech-FT).
        method: ``linear``, ``ties`` or ``dare``.
        density: share of each task vector that ``ties`` and ``dare`` keep.
        seed: of ``dare``.
        include: patterns of tensors to merge; ``encoder.*`` of a codec by default.
        exclude: patterns of tensors that stay the base's.
        force: merge what would be refused.

    Raises:
        CodecError: for models of different bases, shapes or codebooks, and for broken tensors.
    """
    pairs = models.items() if isinstance(models, Mapping) else [(path, None) for path in models]
    config = MergeConfig(
        base=str(base),
        models=tuple(BranchConfig(str(path), weight) for path, weight in pairs),
        output_dir="" if output is None else str(output),
        merge_method=method,
        alpha=alpha,
        density=density,
        seed=seed,
        include=None if include is None else tuple(include),
        exclude=tuple(exclude),
        force=force,
    )
    family = read_family(config)
    merged = merge_family(family, config, config.weights)
    if output is not None:
        write_merged(merged, Path(output))
    return merged


def read_family(config: MergeConfig) -> Family:
    """Read the models of a merge and check that they belong together.

    Raises:
        CodecError: when they do not, or cannot be read, or the output would replace one of them.
    """
    paths = [config.base, *(branch.path for branch in config.models)]
    if config.output_dir and any(_same_folder(path, config.output_dir) for path in paths):
        raise CodecError(
            f"config output_dir: {config.output_dir} holds one of the models; name another folder"
        )
    kinds = [encoders.is_encoder(path) for path in paths]
    if len(set(kinds)) > 1:
        odd = paths[kinds.index(not kinds[0])]
        raise CodecError(
            f"{odd}: {config.base} and this are a codec and a transformers encoder; merge one kind"
        )
    names = ["base", *config.names]
    if kinds[0]:
        return _encoder_family(
            config, [encoders.read_encoder(*item) for item in zip(paths, names, strict=True)]
        )
    return _codec_family(config, [codecs.read_codec(*item) for item in zip(paths, names, strict=True)])


def merge_family(
    family: Family, config: MergeConfig, weights: Sequence[Weight], extra: dict[str, Any] | None = None
) -> Merged:
    """Combine checked models.

    Args:
        weights: lambda of each branch.
        extra: more for ``merge.json``.
    """
    tensors = family.combine(weights)
    model: Codec | PreTrainedModel
    if isinstance(family.base, EncoderSource):
        origins = [source.raw for source in family.branches if isinstance(source, EncoderSource)]
        model = encoders.with_tensors(family.base, tensors, origins)
        hashes = {"fingerprint": encoders.state_hash(model.state_dict()), "decoder": None}
    else:
        model = codecs.with_tensors(family.codec, tensors)
        hashes = codecs.hashes_of(model)
    report = describe(family.base, family.branches, family.start, tensors, list(weights), hashes)
    facts: dict[str, Any] = {
        "merge_method": config.merge_method,
        "alpha": config.alpha,
        "density": config.density,
        "seed": config.seed if config.merge_method == "dare" else None,
        "forced": family.forced,
    }
    return Merged(model, Report(**facts, **report, **(extra or {})), family)


def write_merged(merged: Merged, folder: Path) -> None:
    """Write the model, in its own format, and ``merge.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    base = merged.family.base
    if isinstance(base, CodecSource) and isinstance(merged.model, Codec):
        branches = [source for source in merged.family.branches if isinstance(source, CodecSource)]
        codecs.save_codec(merged.model, base, branches, folder)
    elif isinstance(base, EncoderSource) and not isinstance(merged.model, Codec):
        encoders.save_encoder(merged.model, base, folder)
    write_report(merged.report, folder)


def _codec_family(config: MergeConfig, sources: list[CodecSource]) -> Family:
    base, *branches = sources
    names = _names(config, base, codecs.INCLUDE)
    codecs.check_patterns(names)
    fit = checks.compare_tensors(base, branches, names, config.on_mismatch == "skip")
    parts = ["fingerprint"] + (["decoder"] if any(name.startswith("decoder.") for name in names) else [])
    objections = [
        *codecs.compare_settings(base, branches),
        *checks.compare_bases(base, branches, parts, must_name=True),
        *fit.objections,
        *checks.compare_codebooks(base, branches),
    ]
    return Family(base, branches, fit.names, _recipe(config), checks.refuse(objections, config.force))


def _encoder_family(config: MergeConfig, sources: list[EncoderSource]) -> Family:
    base, *branches = sources
    fit = checks.compare_tensors(
        base, branches, _names(config, base, encoders.INCLUDE), config.on_mismatch == "skip"
    )
    objections = [*fit.objections, *checks.compare_bases(base, branches, ["fingerprint"], must_name=False)]
    return Family(base, branches, fit.names, _recipe(config), checks.refuse(objections, config.force))


def _names(config: MergeConfig, base: Source, include: Sequence[str]) -> list[str]:
    """The base's weights that the settings choose.

    Raises:
        CodecError: when that is none.
    """
    patterns = config.include if config.include is not None else include
    names = [
        name
        for name, tensor in base.state.items()
        if codecs.is_mergeable(name, tensor) and chosen(name, patterns, config.exclude)
    ]
    if not names:
        raise CodecError(
            f"config include: no weight of {base.path} fits {', '.join(patterns)} without "
            f"{', '.join(config.exclude) or 'exceptions'}; a name is {next(iter(base.state))}"
        )
    return names


def _recipe(config: MergeConfig) -> Recipe:
    return Recipe(config.merge_method, config.density, config.seed)


def _same_folder(path: str, output: str) -> bool:
    return Path(path).expanduser().resolve() == Path(output).expanduser().resolve()
