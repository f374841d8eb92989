"""Does a model's sound hum at its frame rate? Peaks in the spectrum of the loudness above 1.5 kHz.

A decoder whose frames all have the same shape in time modulates what should be even. Windows of 16 ms and more, those of
most measures, do not see it. For the recordings and each model: the modulation at the frame rate and its multiples, in
decibels over that at neighbouring frequencies.

``python recipes/envelope_hum.py models=[default] manifest=cache/manifests/held_out.jsonl root=../shared/data``
"""

import sys
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.signal import butter, sosfilt
from torch import Tensor

from codec.audio.io import load_audio
from codec.cli.recipe import run_recipe
from codec.data.manifest import read_manifest
from codec.model.files import load_model

_STEP = 32
"""Samples of one value of the envelope."""
_FLOOR = 1e-4


@dataclass(frozen=True)
class HumConfig:
    """What is measured."""

    manifest: str
    models: tuple[str, ...] = ("default",)
    root: str | None = None
    """Folder that the manifest's paths are relative to; its own by default."""
    clips: int = 16
    """The first so many."""
    multiples: int = 4
    """Of the frame rate."""
    sample_rate: int = 16_000
    threads: int = 1


def modulation(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power spectrum, in bins of 1 Hz, of the logarithm of the level above 1.5 kHz; ``wav (T,)`` of over a second."""
    high = sosfilt(butter(6, 1500, "highpass", fs=sample_rate, output="sos"), wav)
    level = np.sqrt(np.square(high[: len(high) // _STEP * _STEP].reshape(-1, _STEP)).mean(axis=1))
    level = np.log(level + _FLOOR)
    size = sample_rate // _STEP
    windows = np.lib.stride_tricks.sliding_window_view(level, size)[:: size // 2]
    windows = (windows - windows.mean(axis=1, keepdims=True)) * np.hanning(size)
    return np.square(np.abs(np.fft.rfft(windows))).sum(axis=0)


def peaks(spectrum: np.ndarray, frame_rate: float, multiples: int) -> list[float]:
    """Decibels of each multiple of the frame rate over what is 5 to 12 Hz beside it."""
    found = []
    for place in (round(frame_rate * k) for k in range(1, multiples + 1)):
        beside = np.r_[spectrum[place - 12 : place - 4], spectrum[place + 5 : place + 13]]
        found.append(float(10 * np.log10(spectrum[place - 1 : place + 2].mean() / beside.mean())))
    return found


@torch.inference_mode()
def main(config: HumConfig) -> None:
    """Print a line per model."""
    torch.set_num_threads(config.threads)
    clips = read_manifest(config.manifest)[: config.clips]
    if config.root is not None:
        clips = [replace(clip, root=config.root) for clip in clips]
    wavs = [load_audio(clip.audio, config.sample_rate).wav for clip in clips]
    wavs = [wav for wav in wavs if len(wav) > 1.5 * config.sample_rate]
    for number, name in enumerate(config.models):
        model = load_model(name, "cpu", "torch")
        rate = model.config.frame_rate
        if number == 0:
            print(f"recordings: {describe(wavs, config, rate)}")
        decoded = [model.decode(model.encode(wav))[0] for wav in wavs]
        print(f"{name}: {describe(decoded, config, rate)}")


def describe(wavs: list[Tensor], config: HumConfig, frame_rate: float) -> str:
    """The peaks of some sounds in words."""
    total = sum(modulation(wav.numpy(), config.sample_rate) for wav in wavs)
    values = enumerate(peaks(total, frame_rate, config.multiples), start=1)
    return ", ".join(f"{value:+.1f} dB at {frame_rate * k:.0f} Hz" for k, value in values)


if __name__ == "__main__":
    sys.exit(run_recipe(HumConfig, main, __doc__))
