"""Set the level of a trained `spectral` model's output, and how much of the rumble below speech it keeps.

Means over all that fits a code are a little too quiet. The gains of the decoder are raised by as much as its output is
below recordings of training, by default, or by ``gain_db``. Tokens stay as they are.

``python recipes/set_level.py model=runs/natural_music/export output=tuned manifest=train.jsonl rumble=0.5``
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from codec.audio.io import load_audio
from codec.cli.recipe import run_recipe
from codec.data.manifest import Clip, read_manifest, thin
from codec.errors import CodecError
from codec.eval.training import read_training, write_training
from codec.model.codec import Codec
from codec.model.files import find_model, load_model, save_model
from codec.model.lineage import read_base, write_base
from codec.model.spectral.decoder import SpectralDecoder

_MOST_DB = 20.0
_MOST_RUMBLE = 10.0


@dataclass(frozen=True)
class LevelConfig:
    """Settings of the change."""

    model: str
    output: str
    """New folder for the changed model, with weights of float16."""
    manifest: str | None = None
    """Recordings whose levels the output should have."""
    root: str | None = None
    """Folder that the manifest's paths are relative to; its own by default."""
    clips: int = 24
    """Number of clips, evenly from the manifest."""
    seconds: float = 8.0
    """Seconds of each clip, from its start."""
    gain_db: float | None = None
    """By how much the output rises, instead of by what is measured; needs no manifest."""
    rumble: float = 1.0
    """Factor of the amplitudes of the two lowest bins of the spectrum, below 1.5 times their width."""


@torch.inference_mode()
def missing_level(model: Codec, clips: list[Clip], seconds: float) -> float:
    """By how many dB the output of all codebooks is too quiet, on average over clips that are not silent."""
    found = []
    for clip in clips:
        wav = load_audio(clip.audio, model.sample_rate).wav[None, : round(seconds * model.sample_rate)]
        output = model.decode(model.encode(wav))[:, : wav.shape[1]]
        powers = [sound.square().mean().item() for sound in (wav, output)]
        if min(powers) > 0:
            found.append(10 * math.log10(powers[0] / powers[1]))
    if not found:
        raise CodecError(f"nothing but silence in {len(clips)} clips of at most {seconds:g} s; name other recordings")
    return sum(found) / len(found)


@torch.no_grad()
def change(decoder: SpectralDecoder, gain_db: float, rumble: float) -> None:
    """Raise the gains and the levels of the noise, and scale the two lowest bins, in the last layer's weights."""
    real, imag, _, _ = decoder.sizes
    out = decoder.backbone.out
    out.bias[real + imag :] += math.log(10) / 20 * gain_db
    for start in (0, real):
        out.weight[start : start + 2] *= rumble
        out.bias[start : start + 2] *= rumble


def check(config: LevelConfig) -> None:
    """Raise a :class:`CodecError` for values that would leave no model, or not the one that is asked for."""
    if (config.gain_db is None) == (config.manifest is None):
        raise CodecError("set manifest, whose levels the output should have, or gain_db, and not both")
    if config.clips < 1 or not 0 < config.seconds < math.inf:
        raise CodecError(f"clips {config.clips} and seconds {config.seconds:g} must lie above 0 and be finite")
    if not 0 <= config.rumble <= _MOST_RUMBLE:
        raise CodecError(f"rumble {config.rumble:g} must lie between 0 and {_MOST_RUMBLE:g}")
    if config.gain_db is not None and not abs(config.gain_db) <= _MOST_DB:
        raise CodecError(f"gain_db {config.gain_db:g} must lie between -{_MOST_DB:g} and {_MOST_DB:g}")
    if (Path(config.output) / "config.json").exists():
        raise CodecError(f"{config.output} holds a model already; choose another output")


def main(config: LevelConfig) -> None:
    """Measure, change and save."""
    check(config)
    model = load_model(config.model, "cpu", "torch")
    if not isinstance(model.decoder, SpectralDecoder):
        raise CodecError(f"{config.model}: its decoder has no gains; only the architecture spectral has")
    # Losses still mark metrics of the changed model, and the weights that training began at are still its base.
    source = find_model(config.model)
    training, base = read_training(source), read_base(source)
    change(model.decoder, 0.0, config.rumble)
    gain_db = config.gain_db
    if config.manifest is not None:
        clips = thin(read_manifest(config.manifest, config.root), config.clips)
        gain_db = missing_level(model, clips, config.seconds)
    change(model.decoder, gain_db, 1.0)
    save_model(model, config.output, torch.float16)
    if training is not None:
        write_training(Path(config.output), training)
    write_base(Path(config.output), base)
    print(f"{config.output}: {gain_db:+.2f} dB, the two lowest bins times {config.rumble:g}")


if __name__ == "__main__":
    sys.exit(run_recipe(LevelConfig, main, __doc__))
