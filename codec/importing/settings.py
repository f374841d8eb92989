"""What the config of a checkpoint says, against what its tensors show."""

from collections.abc import Mapping
from typing import Any

from codec.errors import CodecError
from codec.importing.checkpoint import CONFIG, EXTRACTOR, Checkpoint


def check_settings(checkpoint: Checkpoint, shown: Mapping[str, Any]) -> None:
    """Compare settings of the config with what the tensors show; those that it lacks are fine.

    Raises:
        CodecError: where they contradict each other.
    """
    for name, value in shown.items():
        said = checkpoint.config.get(name)
        if said is not None and _plain(said) != _plain(value):
            raise CodecError(
                f"{checkpoint.path.parent / CONFIG}: {name} is {said}, but the tensors of "
                f"{checkpoint.path.name} show {_plain(value)}; the two are of different models"
            )


def sample_rate(checkpoint: Checkpoint, default: int, hop: int, names: tuple[str, ...]) -> tuple[int, list[str]]:
    """Hz, and a note where it had to be assumed.

    Args:
        default: where no config says it.
        hop: samples of a frame, as the tensors show.
        names: of the setting; a config that has several of them has to agree with itself.

    Raises:
        CodecError: for a config that contradicts itself, or names a frame rate that does not fit ``hop``.
    """
    config, where = checkpoint.config, checkpoint.path.parent / CONFIG
    said = {name: config[name] for name in names if config.get(name) is not None}
    if (heard := checkpoint.extractor.get("sampling_rate")) is not None:
        said[f"sampling_rate of {EXTRACTOR}"] = heard
    for name, value in said.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise CodecError(f"{where}: {name} is {value!r}; it must be whole Hz, such as {default}")
    if len(set(said.values())) > 1:
        settings = ", ".join(f"{name} {value}" for name, value in said.items())
        raise CodecError(f"{where}: it contradicts itself: {settings}; correct the config")
    rate = next(iter(said.values()), default)
    frames = config.get("frame_rate")
    # EnCodec's config rounds up.
    if isinstance(frames, int | float) and not abs(frames - rate / hop) < 1:
        raise CodecError(
            f"{where}: {frames:g} frames per second at {rate} Hz, but the tensors of {checkpoint.path.name} "
            f"make {rate / hop:g}, of {hop} samples each; correct the config"
        )
    note = f"no config beside the weights says a sample rate: {rate} Hz is assumed"
    return rate, [] if said else [note]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.lower()
    return list(value) if isinstance(value, list | tuple) else value
