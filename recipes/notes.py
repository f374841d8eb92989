"""Single notes of General MIDI instruments, with instrument and pitch known exactly: clips for the probe ``notes``.

Each instrument plays every pitch once, by ``fluidsynth`` and a soundfont (both Debian's: ``apt-get install fluidsynth
fluid-soundfont-gm``), without reverberation and chorus. The same versions of the two give the same files. In the
manifest, ``speaker`` is the instrument and ``label`` the note: ``flute``, ``C4``.

``python recipes/notes.py output=cache/notes``
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import torch

from codec.audio.resample import resample
from codec.cli.recipe import run_recipe
from codec.data.manifest import Clip, write_manifest
from codec.errors import CodecError

_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
RENDER_RATE = 48_000
TICKS_PER_SECOND = 960
_SPACING = 3
"""Seconds from note to note: the one before has died away."""
_HELD = 0.9
"""Share of a clip for which the key is down."""

Render = Callable[[bytes], np.ndarray]
"""A MIDI file to samples ``(T,)`` at 48 kHz."""


@dataclass(frozen=True)
class NotesConfig:
    """Which notes, of which instruments."""

    output: str = "cache/notes"
    """Folder of the clips and of notes.jsonl."""
    soundfont: str = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
    instruments: dict[str, int] = field(
        default_factory=lambda: {
            "piano": 0,
            "vibraphone": 11,
            "organ": 19,
            "accordion": 21,
            "guitar": 24,
            "bass": 33,
            "violin": 40,
            "choir": 52,
            "trumpet": 56,
            "saxophone": 65,
            "clarinet": 71,
            "flute": 73,
        }
    )
    """General MIDI programs, counted from 0, by name."""
    lowest: int = 60
    """MIDI number of the lowest note; 60 is C4, 262 Hz."""
    pitches: int = 12
    """Notes of an instrument, a semitone apart."""
    seconds: float = 1.0
    """Length of a clip, up to 2.5."""
    velocity: int = 100
    sample_rate: int = 16_000

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 2.5 or not self.instruments or self.pitches < 1:
            raise CodecError("config: name instruments and pitches, of up to 2.5 s each")
        if not 0 <= self.lowest <= 128 - self.pitches:
            raise CodecError(f"config lowest, pitches: MIDI has notes 0 to 127, not {self.lowest + self.pitches - 1}")


def note_name(number: int) -> str:
    """Name of a MIDI note: 60 is C4."""
    return f"{_NAMES[number % 12]}{number // 12 - 1}"


@dataclass(frozen=True)
class Note:
    """A key that is down from ``start`` for ``held`` ticks; ``velocity`` is up to 127."""

    start: int
    held: int
    number: int
    velocity: int


def scale_notes(config: NotesConfig) -> list[Note]:
    """An instrument's notes, one every three seconds."""
    held = round(config.seconds * _HELD * TICKS_PER_SECOND)
    return [
        Note(place * _SPACING * TICKS_PER_SECOND, held, config.lowest + place, config.velocity)
        for place in range(config.pitches)
    ]


def midi_file(program: int, notes: Sequence[Note], ticks: int) -> bytes:
    """A Standard MIDI File of format 0: one instrument, one note after the other, ``ticks`` in all."""
    track, now = _delta(0) + bytes([0xC0, program]), 0
    for note in notes:
        track += _delta(note.start - now) + bytes([0x90, note.number, note.velocity])
        track += _delta(note.held) + bytes([0x80, note.number, 0])
        now = note.start + note.held
    track += _delta(ticks - now) + b"\xff\x2f\x00"
    # By default a quarter note lasts half a second.
    head = b"MThd" + (6).to_bytes(4, "big") + b"\x00\x00\x00\x01" + (TICKS_PER_SECOND // 2).to_bytes(2, "big")
    return head + b"MTrk" + len(track).to_bytes(4, "big") + track


def _delta(ticks: int) -> bytes:
    """Time since the event before, seven bits a byte, the highest first."""
    groups = [ticks & 0x7F]
    while ticks := ticks >> 7:
        groups.append(ticks & 0x7F | 0x80)
    return bytes(reversed(groups))


def fluidsynth(soundfont: str) -> Render:
    """Rendering by the program of that name.

    Raises:
        CodecError: when the program or the soundfont is missing.
    """
    program = shutil.which("fluidsynth")
    if program is None or not Path(soundfont).is_file():
        missing = "fluidsynth" if program is None else soundfont
        raise CodecError(f"{missing} not found; run: apt-get install fluidsynth fluid-soundfont-gm")

    def render(midi: bytes) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "notes.mid"), Path(folder, "notes.wav")
            source.write_bytes(midi)
            options = ["-ni", "-q", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(RENDER_RATE), "-F", str(target)]
            command = [program, *options, soundfont, str(source)]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode or not target.is_file():
                raise CodecError(f"fluidsynth failed: {done.stderr.strip() or done.returncode}")
            samples, _ = soundfile.read(target, dtype="float32", always_2d=True)
            return samples.mean(axis=1)

    return render


def write_notes(config: NotesConfig, render: Render) -> list[Clip]:
    """Render and cut the notes, and write them with ``notes.jsonl``."""
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for instrument, program in config.instruments.items():
        ticks = config.pitches * _SPACING * TICKS_PER_SECOND
        samples = render(midi_file(program, scale_notes(config), ticks))
        for place in range(config.pitches):
            start = place * _SPACING * RENDER_RATE
            note = samples[start : start + round(config.seconds * RENDER_RATE)]
            if len(note) < round(config.seconds * RENDER_RATE) or not note.any():
                raise CodecError(f"{instrument}: note {note_name(config.lowest + place)} is silent or missing")
            name = f"{instrument}-{config.lowest + place}.flac"
            wav = resample(torch.from_numpy(note), RENDER_RATE, config.sample_rate)
            soundfile.write(folder / name, wav.numpy(), config.sample_rate)
            label = note_name(config.lowest + place)
            clips.append(Clip(name, config.seconds, speaker=instrument, domain="music", label=label))
    write_manifest(folder / "notes.jsonl", clips)
    return clips


def main(config: NotesConfig) -> None:
    """Render with fluidsynth."""
    clips = write_notes(config, fluidsynth(config.soundfont))
    print(f"{config.output}/notes.jsonl: {len(clips)} notes of {len(config.instruments)} instruments")


if __name__ == "__main__":
    sys.exit(run_recipe(NotesConfig, main, __doc__ or ""))
