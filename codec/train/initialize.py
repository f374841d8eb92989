"""Start a run from a finished model, or from the checkpoint of another run."""

from pathlib import Path

from codec.errors import CodecError
from codec.model.files import load_model
from codec.train.checkpoint import list_checkpoints, read_checkpoint
from codec.train.state import TrainState


def initialize(state: TrainState, source: str) -> None:
    """Take weights from ``source``.

    Args:
        state: of the new run; its optimizers start afresh.
        source: a model folder (``config.json``), a checkpoint folder (``step-...``, with its
            discriminators), or the output folder of a run, whose newest checkpoint is taken.

    Raises:
        CodecError: when there is no such thing, or its sizes do not fit the config.
    """
    folder = Path(source)
    checkpoints = list_checkpoints(folder / "checkpoints")
    if checkpoints:
        folder = checkpoints[-1]
    if (folder / "manifest.json").is_file():
        state.load_weights(read_checkpoint(folder).parts, str(folder))
        return
    model = load_model(folder, "cpu")
    mine = state.generator.codec
    if model.config != mine.config:
        raise CodecError(
            f"init_from {source}: its config.json differs from this run's model; "
            "copy its settings into the config's model section"
        )
    mine.load_state_dict(model.state_dict())
    state.generator.quantizer.adopt_codebooks()
    state.restart_average()
