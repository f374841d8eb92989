"""Random melodies of General MIDI instruments, as music to train on: brass, strings, woodwinds, keys, voices.

Each clip is one to three parts, each of an instrument with its own line: a walk over a major or minor scale, with
rests. They are rendered by ``fluidsynth`` and a soundfont as in recipes/notes.py. A clip depends on ``seed`` and its
number alone, so more of them leave the first as they are. The manifest's ``domain`` is ``melodies``.

``python recipes/melodies.py output=cache/melodies``
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from notes import RENDER_RATE, TICKS_PER_SECOND, Note, Render, fluidsynth, midi_file

from codec.audio.resample import resample
from codec.cli.recipe import run_recipe
from codec.data.manifest import Clip, write_manifest
from codec.errors import CodecError
from codec.progress import track

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))
_BEATS = (0.25, 0.5, 1.0, 2.0, 4.0)
_CHANCES = (0.15, 0.35, 0.3, 0.15, 0.05)
_LOW = (42, 57, 58, 70)
"""Cello, trombone, tuba and bassoon."""
_REST = 0.12
"""Share of rests among the notes."""


@dataclass(frozen=True)
class MelodiesConfig:
    """How many melodies, of which instruments."""

    output: str = "cache/melodies"
    """Folder of the clips and of melodies.jsonl."""
    soundfont: str = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
    # Pianos, organ, accordion, guitars, strings, choir, brass (trumpet and horn twice), reeds, flute, ocarina.
    programs: tuple[int, ...] = (
        0, 4, 19, 21, 24, 25, 40, 41, 42, 48, 52, 56, 57, 58, 59, 60, 61, 56, 60, 64, 65, 68, 70, 71, 73, 79,
    )  # fmt: skip
    """General MIDI programs, counted from 0, of which the parts are drawn."""
    clips: int = 120
    seconds: float = 30.0
    """Length of a clip."""
    seed: int = 0
    sample_rate: int = 16_000

    def __post_init__(self) -> None:
        if self.clips < 1 or self.seconds < 1.0 or not self.programs:
            raise CodecError("config: name at least one clip, one second and one of programs")


def melody(rng: np.random.Generator, program: int, seconds: float) -> list[Note]:
    """One part: a walk over a scale, whose notes and rests fill the time.

    Args:
        rng: all that is random.
        program: General MIDI program; low instruments walk two octaves lower.
        seconds: length.
    """
    beat = 60 / rng.uniform(60, 150) * TICKS_PER_SECOND
    scale = np.array(_SCALES[rng.integers(len(_SCALES))])
    tonic = int(rng.integers(36, 48)) + (0 if program in _LOW else 24)
    degree, legato, loud = int(rng.integers(len(scale))), rng.uniform(0.5, 0.98), rng.uniform(60, 110)
    notes, now, end = [], int(rng.integers(round(beat))), round(seconds * TICKS_PER_SECOND)
    while True:
        length = round(beat * rng.choice(_BEATS, p=_CHANCES))
        if now + length > end:
            return notes
        degree = int(np.clip(degree + rng.integers(-3, 4), -3, 2 * len(scale)))
        octave, step = divmod(degree, len(scale))
        if rng.random() > _REST:
            velocity = int(np.clip(loud + rng.normal(0, 8), 30, 127))
            number = tonic + 12 * octave + int(scale[step])
            notes.append(Note(now, max(1, round(length * legato)), number, velocity))
        now += length


def render_clip(config: MelodiesConfig, number: int, render: Render) -> np.ndarray:
    """One clip ``(T,)`` at the config's rate: one to three parts, the peak between -20 and -1 dB."""
    rng = np.random.default_rng([config.seed, number])
    size = round(config.seconds * RENDER_RATE)
    mixed = np.zeros(size, np.float32)
    for _ in range(int(rng.choice((1, 2, 3), p=(0.5, 0.25, 0.25)))):
        program = int(rng.choice(config.programs))
        notes = melody(rng, program, config.seconds)
        part = render(midi_file(program, notes, round(config.seconds * TICKS_PER_SECOND)))[:size]
        mixed[: len(part)] += part
    peak = float(np.abs(mixed).max())
    if peak == 0.0:
        raise CodecError(f"melody {number} is silent: the soundfont lacks its programs")
    mixed *= 10 ** (rng.uniform(-20, -1) / 20) / peak
    wav = resample(torch.from_numpy(mixed), RENDER_RATE, config.sample_rate).numpy()
    return np.clip(wav, -1.0, 1.0)


def write_melodies(config: MelodiesConfig, render: Render) -> list[Clip]:
    """Render the clips, and write them with ``melodies.jsonl``."""
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for number in track(range(config.clips), "melodies", config.clips):
        name = f"melody-{number:04d}.flac"
        soundfile.write(folder / name, render_clip(config, number, render), config.sample_rate)
        clips.append(Clip(name, config.seconds, domain="melodies"))
    write_manifest(folder / "melodies.jsonl", clips)
    return clips


def main(config: MelodiesConfig) -> None:
    """Render with fluidsynth."""
    clips = write_melodies(config, fluidsynth(config.soundfont))
    print(f"{config.output}/melodies.jsonl: {len(clips)} clips of {config.seconds:g} s")


if __name__ == "__main__":
    sys.exit(run_recipe(MelodiesConfig, main, __doc__ or ""))
