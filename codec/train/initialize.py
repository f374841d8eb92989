"""Start a run from a finished model, or from the checkpoint of another run."""

from pathlib import Path

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.files import load_model
from codec.model.fingerprint import token_settings
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
    model, mine = load_model(folder, "cpu"), state.generator.codec
    mine.load_state_dict(_fitting(model, mine, source))
    state.generator.quantizer.adopt_codebooks()
    state.restart_average()


def _fitting(model: Codec, mine: Codec, source: str) -> dict[str, Tensor]:
    """The tensors of ``model``; those that ``mine`` has beyond them, as drawn noise has in a decoder, stay.

    Raises:
        CodecError: when encoder or quantizer have other settings, or a tensor does not fit.
    """
    merged = mine.state_dict()
    fits = token_settings(model) == token_settings(mine)
    for name, tensor in model.state_dict().items() if fits else ():
        own = merged.get(name)
        if own is None or own.shape[1:] != tensor.shape[1:] or len(own) < len(tensor):
            fits = False
            break
        merged[name] = torch.cat([tensor, own[len(tensor) :]])
    if not fits:
        raise CodecError(
            f"init_from {source}: its config.json differs from this run's model; "
            "copy its settings into the config's model section"
        )
    return merged
