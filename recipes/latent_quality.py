"""Does the quantizer limit a model, or its networks? Compare audio decoded from latents with that from codes.

For each model: measures of both on the same clips, the signal-to-noise ratio of quantizing, and how many
dimensions hold 95 % of the latents' variance.

``python recipes/latent_quality.py models=[default] manifest=cache/manifests/held_out.jsonl root=../shared/data``
"""

import sys
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.audio.io import load_audio
from codec.cli.recipe import run_recipe
from codec.data.manifest import Clip, read_manifest
from codec.errors import CodecError
from codec.eval.measures import build_measures
from codec.eval.measures.base import MetricSettings
from codec.eval.types import SCORING_RATE, Pair
from codec.model.codec import Codec
from codec.model.files import load_model


@dataclass(frozen=True)
class LatentQualityConfig:
    """Settings of the measurement."""

    manifest: str
    models: tuple[str, ...] = ("default",)
    root: str | None = None
    """Folder that the manifest's paths are relative to; its own by default."""
    clips: int = 10
    """Number of clips; the first ones are used."""
    seconds: float = 6.0
    """Seconds of each clip, from its start."""
    measures: tuple[str, ...] = ("pesq", "stoi", "visqol", "si_sdr")
    threads: int = 1


@dataclass(frozen=True)
class Latents:
    """Latents of one clip, ``(T, D)``, before and after quantizing."""

    exact: Tensor
    quantized: Tensor


def decode(model: Codec, latent: Tensor, length: int) -> np.ndarray:
    """``(length,)`` audio of latents ``(1, D, T)``, the decoder's lag cut off."""
    delay = model.decoder.delay
    flushed = F.pad(latent, (0, delay // model.hop_length))
    return model.decoder(flushed)[0][0, delay : delay + length].numpy()


def snr_db(latents: list[Latents]) -> float:
    """Variance of the latents over the mean squared error of quantizing, in decibels."""
    exact = torch.cat([item.exact for item in latents])
    error = exact - torch.cat([item.quantized for item in latents])
    return float(10 * torch.log10(exact.var(0).sum() / error.square().mean(0).sum()))


def dimensions(latents: list[Latents], share: float = 0.95) -> int:
    """Least number of directions that hold ``share`` of the latents' variance."""
    exact = torch.cat([item.exact for item in latents])
    values = torch.linalg.eigvalsh(exact.T.cov()).flip(0)
    return int((values.cumsum(0) < share * values.sum()).sum()) + 1


@torch.inference_mode()
def main(config: LatentQualityConfig) -> None:
    """Print a line per model."""
    torch.set_num_threads(config.threads)
    measures = build_measures(list(config.measures), MetricSettings())
    clips = read_manifest(config.manifest)[: config.clips]
    if config.root is not None:
        clips = [replace(clip, root=config.root) for clip in clips]
    for name in config.models:
        model = load_model(name, "cpu", "torch")
        if model.sample_rate != SCORING_RATE:
            raise CodecError(f"{name}: is of {model.sample_rate} Hz, measures are made for {SCORING_RATE} Hz")
        latents, scores = [], {"latents": [], "codes": []}
        for clip in clips:
            one, decoded = examine(model, clip, config.seconds)
            latents.append(one)
            for way, pair in decoded.items():
                values = {key: value for metric in measures for key, value in metric(pair).items()}
                scores[way].append([values[column.name] for metric in measures for column in metric.columns])
        titles = [column.title for metric in measures for column in metric.columns]
        for way, rows in scores.items():
            means = np.mean(rows, axis=0)
            print(f"{name}, {way}: " + ", ".join(f"{t} {v:.3f}" for t, v in zip(titles, means, strict=True)))
        print(f"{name}: quantizing at {snr_db(latents):.1f} dB, {dimensions(latents)} dimensions with 95 %")


def examine(model: Codec, clip: Clip, seconds: float) -> tuple[Latents, dict[str, Pair]]:
    """Latents of a clip, and the audio decoded from both."""
    wav = load_audio(clip.audio, model.sample_rate).wav[: int(seconds * model.sample_rate)]
    exact = model.encoder.whole(F.pad(wav, (0, -len(wav) % model.hop_length))[None])
    quantized = model.quantizer.decode(model.quantizer.encode(exact, model.num_codebooks))
    decoded = {
        way: Pair(clip, wav.numpy(), decode(model, latent, len(wav)))
        for way, latent in (("latents", exact), ("codes", quantized))
    }
    return Latents(exact[0].T, quantized[0].T), decoded


if __name__ == "__main__":
    sys.exit(run_recipe(LatentQualityConfig, main, __doc__))
