"""Does a model's audio hum at its frame rate? Peaks in the spectrum of the loudness above 1.5 kHz.

A decoder whose frames all have the same shape in time modulates what should be even. Windows of 16 ms and more, those
of most measures, do not see it. For the recordings and each model: the modulation at the frame rate and its multiples,
in decibels over that at neighbouring frequencies. ``codec eval --measures hum`` has the same metric, clip by clip.

``python recipes/envelope_hum.py models=[default] manifest=cache/manifests/held_out.jsonl root=../shared/data``
"""

import sys
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from codec.audio.io import load_audio
from codec.cli.recipe import run_recipe
from codec.data.manifest import read_manifest
from codec.eval.measures.hum import modulation_spectrum, prominences
from codec.model.files import load_model


@dataclass(frozen=True)
class HumConfig:
    """Settings of the measurement."""

    manifest: str
    models: tuple[str, ...] = ("default",)
    root: str | None = None
    """Folder that the manifest's paths are relative to; its own by default."""
    clips: int = 16
    """Number of clips; the first ones are used."""
    multiples: int = 4
    """Number of multiples of the frame rate."""
    sample_rate: int = 16_000
    threads: int = 1


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
    """Format the peaks of some clips as text."""
    total = sum(modulation_spectrum(wav.numpy(), config.sample_rate) for wav in wavs)
    frequencies = [frame_rate * k for k in range(1, config.multiples + 1)]
    values = zip(frequencies, prominences(total, frequencies), strict=True)
    return ", ".join(f"{value:+.1f} dB at {frequency:.0f} Hz" for frequency, value in values)


if __name__ == "__main__":
    sys.exit(run_recipe(HumConfig, main, __doc__))
