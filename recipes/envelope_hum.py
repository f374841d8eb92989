"""Does a model's audio hum at its frame rate, and are all its frames alike?

A decoder whose frames all have the same shape in time modulates what should be even. Windows of 16 ms and more, those
of most measures, do not see it. For the recordings and each model: the modulation of the loudness above 1.5 kHz at the
frame rate and its multiples, in decibels over that at neighbouring frequencies (``codec eval --measures hum`` has the
same metric, clip by clip); and in how many shapes the spectra of frames come, phases included, by band.

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
    band_hertz: float = 500.0
    """Width of the bands whose shapes are counted."""
    up_to: float = 3000.0
    """Hz where the last of them ends."""
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
            print(f"recordings: {describe(wavs, config, rate)}\n  {describe_shapes(wavs, config, rate)}")
        decoded = [model.decode(model.encode(wav))[0] for wav in wavs]
        print(f"{name}: {describe(decoded, config, rate)}\n  {describe_shapes(decoded, config, rate)}")


def describe(wavs: list[Tensor], config: HumConfig, frame_rate: float) -> str:
    """Format the peaks of some clips as text."""
    total = sum(modulation_spectrum(wav.numpy(), config.sample_rate) for wav in wavs)
    frequencies = [frame_rate * k for k in range(1, config.multiples + 1)]
    values = zip(frequencies, prominences(total, frequencies), strict=True)
    return ", ".join(f"{value:+.1f} dB at {frequency:.0f} Hz" for frequency, value in values)


def describe_shapes(wavs: list[Tensor], config: HumConfig, frame_rate: float) -> str:
    """Format the numbers of shapes in bands as text."""
    hop = round(config.sample_rate / frame_rate)
    spectra = torch.cat([frame_spectra(wav, hop) for wav in wavs])
    per_band = round(config.band_hertz * 2 * hop / config.sample_rate)
    count = round(config.up_to / config.band_hertz)
    # Without the constant, whose imaginary part is nothing.
    bands = [spectra[:, max(1, k * per_band) : (k + 1) * per_band] for k in range(count)]
    ranks = [f"{effective_rank(band):.1f} of {2 * band.shape[1]}" for band in bands]
    return f"shapes of frames in bands of {config.band_hertz:.0f} Hz: {', '.join(ranks)}"


def frame_spectra(wav: Tensor, hop: int) -> Tensor:
    """``(n, hop + 1)`` complex spectra of frames of two hops, a hop apart, on the grid that decoders use."""
    frames = wav[: len(wav) // hop * hop].unfold(0, 2 * hop, hop)
    return torch.fft.rfft(frames * torch.hann_window(2 * hop).sqrt())


def effective_rank(spectra: Tensor) -> float:
    """``(sum l)^2 / sum l^2`` of the eigenvalues l of the correlations of real and imaginary parts.

    Frames are scaled to the same power in the band, and the quieter half is left out.

    Args:
        spectra: ``(n, bins)`` complex.
    """
    power = spectra.abs().square().mean(1)
    loud = power > power.median()
    parts = torch.view_as_real(spectra[loud] / power[loud].sqrt().unsqueeze(1)).flatten(1).double()
    covariance = parts.T @ parts / len(parts)
    scale = covariance.diagonal().clamp(min=1e-12).sqrt()
    eigenvalues = torch.linalg.eigvalsh(covariance / scale / scale.unsqueeze(1))
    return float(eigenvalues.sum().square() / eigenvalues.square().sum())


if __name__ == "__main__":
    sys.exit(run_recipe(HumConfig, main, __doc__))
