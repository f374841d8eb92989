"""Where a run begins that takes the weights of a model or of another run (``init_from``)."""

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from codec.config import flatten, from_dict, to_dict
from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.config import CodecConfig
from codec.model.files import load_model, shipped_model
from codec.model.seanet.weight_norm import apply_weight_norm
from codec.model.transfer import adds_levels, fitting_weights, resizes_codebooks, same_settings, seeing_levels
from codec.pretraining.models.files import FRAMES, encoder_weights, kind_of
from codec.quantizers.base import QuantizerConfig
from codec.train.checkpoint import list_checkpoints, read_checkpoint
from codec.train.state import TrainState


def start_folder(source: str) -> Path:
    """Folder that ``init_from`` names: that of a shipped model for its bare name, else the path itself."""
    return shipped_model(source) or Path(source)


def check_start(source: str, config: CodecConfig, frozen: Collection[str]) -> None:
    """Raise a :class:`CodecError` unless a run of this model can begin from ``source``.

    It needs neither data nor optimizers, so it comes before audio is decoded.

    Args:
        source: see :func:`initialize`.
        config: the run's model.
        frozen: its parts that do not learn.
    """
    folder, mine = folder_of_weights(source), Codec(config)
    if not _is_checkpoint(folder):
        if kind_of(folder) != FRAMES:
            _check_sizes(source, load_model(folder, "cpu").config.quantizer, config.quantizer, frozen)
        _model_weights(folder, source, mine)
        return
    checkpoint = read_checkpoint(folder)
    if "generator" not in checkpoint.parts:
        raise CodecError(f"init_from {source}: is a run of another task, not of a codec; name its folder export")
    theirs = from_dict(CodecConfig, checkpoint.meta["config"]["model"])
    _check_sizes(source, theirs.quantizer, config.quantizer, frozen)
    # A run has the weights of convolutions of SEANet in the form in which they are trained.
    apply_weight_norm(mine)
    own = {f"codec.{name}": tensor for name, tensor in mine.state_dict().items()}
    weights = {name: tensor for name, tensor in checkpoint.parts["generator"].items() if name.startswith("codec.")}
    if adds_levels(theirs, config):
        weights |= seeing_levels(weights, own, prefix="codec.")
    if resizes_codebooks(theirs.quantizer, config.quantizer):
        weights |= {name: tensor for name, tensor in own.items() if name.endswith("codebooks")}
    if _shapes(weights) != _shapes(own) or not same_settings(Codec(theirs), mine):
        raise CodecError(
            f"init_from {source}: {_difference(theirs, config)}; set them alike (its export may become deeper)"
        )


def initialize(state: TrainState, source: str) -> list[str]:
    """Take weights from ``source``.

    Args:
        state: of the new run; its optimizers start afresh.
        source: a shipped model's name, a model folder (``config.json``), a checkpoint folder (``step-...``, with
            its discriminators), the output folder of a run, whose newest checkpoint is taken, or an encoder of
            frames that was pre-trained, which leaves decoder and quantizer as they are.

    Returns:
        names of the losses whose heads a run or checkpoint does not have; none for a model, which has no heads at all.

    Raises:
        CodecError: when there is no such thing, or its sizes do not fit the config.
    """
    folder = folder_of_weights(source)
    if _is_checkpoint(folder):
        return state.load_weights(read_checkpoint(folder), str(folder))
    mine = state.generator.codec
    mine.load_state_dict(_model_weights(folder, source, mine))
    if kind_of(folder) != FRAMES:
        state.generator.quantizer.adopt_codebooks()
    state.restart_average()
    return []


def folder_of_weights(source: str) -> Path:
    """Folder whose weights :func:`initialize` takes: of a run's folder its newest checkpoint."""
    folder = start_folder(source)
    checkpoints = list_checkpoints(folder / "checkpoints")
    return checkpoints[-1] if checkpoints else folder


def _is_checkpoint(folder: Path) -> bool:
    return (folder / "manifest.json").is_file()


def _model_weights(folder: Path, source: str, mine: Codec) -> Mapping[str, Tensor]:
    """The weights of a model's folder in the shapes of ``mine``."""
    if kind_of(folder) == FRAMES:
        theirs, weights = mine.config, encoder_weights(folder, mine)
    else:
        model = load_model(folder, "cpu")
        theirs, weights = model.config, fitting_weights(model, mine)
    if weights is None:
        raise CodecError(
            f"init_from {source}: its config.json differs from this run's model "
            f"({_difference(theirs, mine.config)}); copy its settings into the config's model section"
        )
    return weights


def _check_sizes(source: str, old: QuantizerConfig, new: QuantizerConfig, frozen: Collection[str]) -> None:
    """Raise a :class:`CodecError` where a frozen quantizer would begin with codebooks of other sizes."""
    if "quantizer" in frozen and resizes_codebooks(old, new):
        raise CodecError(
            f"init_from {source}: its codebooks have {list(old.layer_sizes)} entries, this run's "
            f"{list(new.layer_sizes)}, and the quantizer is frozen; set model.quantizer.sizes to its sizes"
        )


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def _difference(theirs: CodecConfig, mine: CodecConfig) -> str:
    """The settings in which two models differ, at most four of them; beams may differ."""
    old, new = flatten(to_dict(theirs)), flatten(to_dict(mine))
    told = [
        f"{name} is {old.get(name)} there and {new.get(name)} here"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and name != "quantizer.beams"
    ]
    return ", ".join(told[:4]) or "its tensors have other shapes"
