"""Speech, noise and small metrics for the tests of evaluation."""

import time
from pathlib import Path

import numpy as np
import soundfile

import codec
from codec.audio.io import load_audio
from codec.data import Clip, write_manifest
from codec.eval.measures import Column, Measure
from codec.eval.types import Pair

RATE = 16_000


def bundled_speech(seconds: float, start: float = 0.5) -> np.ndarray:
    """``(T,)`` float32 at 16 kHz of the recording that the package carries; it begins with silence."""
    audio = load_audio(Path(codec.__file__).parent / "assets" / "speech.flac", RATE)
    first = round(start * RATE)
    return audio.wav.numpy()[first : first + round(seconds * RATE)].copy()


def add_noise(wav: np.ndarray, snr_db: float, seed: int = 0) -> np.ndarray:
    """White noise at a signal-to-noise ratio in dB."""
    noise = np.random.default_rng(seed).standard_normal(len(wav)).astype(np.float32)
    gain = np.linalg.norm(wav) / np.linalg.norm(noise) * 10 ** (-snr_db / 20)
    return (wav + gain * noise).astype(np.float32)


def pair(reference: np.ndarray, output: np.ndarray, text: str | None = None) -> Pair:
    clip = Clip("clip.wav", len(reference) / RATE, text=text, language="en")
    return Pair(clip, reference, output)


def write_clips(folder: Path, wavs: dict[str, np.ndarray], text: str | None = "a word") -> Path:
    """A manifest of 16 kHz files; the name up to the dash is the speaker."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for name, wav in wavs.items():
        soundfile.write(folder / f"{name}.wav", wav, RATE, subtype="PCM_16")
        clips.append(Clip(f"{name}.wav", len(wav) / RATE, name.partition("-")[0], "en", text))
    write_manifest(folder / "clips.jsonl", clips)
    return folder / "clips.jsonl"


class Loudness(Measure):
    """Level of the output: cheap, and easy to compute by hand."""

    name = "loudness"
    columns = (Column("loudness", "loudness", True),)

    def __call__(self, pair: Pair) -> dict[str, float]:
        return {"loudness": float(np.abs(pair.output).mean())}


class Fragile(Measure):
    """Breaks on clips whose name says so: by an exception, the death of the process, or no end."""

    name = "fragile"
    columns = (Column("fragile", "fragile", True),)

    def __call__(self, pair: Pair) -> dict[str, float]:
        if "raises" in pair.clip.name:
            raise ZeroDivisionError("by design")
        if "dies" in pair.clip.name:
            import os

            os._exit(3)
        if "hangs" in pair.clip.name:
            time.sleep(600)
        if "nan" in pair.clip.name:
            return {"fragile": float("nan")}
        return {"fragile": float(len(pair.output))}


def timeless(report: dict) -> dict:
    """A report without what a clock decides."""
    for system in report["systems"]:
        system["rtf_encode"] = system["rtf_decode"] = None
    for systems in report["files"].values():
        for entry in systems.values():
            entry["values"] = {k: v for k, v in entry["values"].items() if not k.endswith("code_seconds")}
    report["about"]["command"] = report["about"]["settings"]["out"] = ""
    return report
