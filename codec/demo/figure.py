"""The demo's picture: waveforms, mel spectra and the token matrix on one time axis."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from codec.atomic import atomic_path
from codec.demo.spectrum import HOP_SECONDS, log_mel
from codec.tokens.tokens import Tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from codec.model.codec import Codec

_ORIGINAL, _DECODED = "#33658a", "#c8553d"


@dataclass(frozen=True)
class RoundTrip:
    """A clip, its tokens and what came back, with the computing time of either way in seconds."""

    original: Tensor
    tokens: Tokens
    decoded: Tensor
    encode_seconds: float
    decode_seconds: float


def draw(path: Path, trip: RoundTrip, model: "Codec") -> None:
    """Write the picture as PNG.

    The token matrix has one row per codebook and one column per frame; its colour is the code's
    number, so that equal colours in a row are equal codes.
    """
    seconds = len(trip.original) / model.sample_rate
    # Figure without pyplot needs no display and keeps no global state.
    figure = Figure(figsize=(12, 10), layout="constrained")
    axes = figure.subplots(5, 1, sharex=True, height_ratios=[1, 1, 1.8, 1.8, 1.5])
    for axis, wav, title, colour in (
        (axes[0], trip.original, "original", _ORIGINAL),
        (axes[1], trip.decoded, "decoded", _DECODED),
    ):
        _draw_wave(axis, wav, model.sample_rate, title, colour)
    limit = max(float(trip.original.abs().max()), float(trip.decoded.abs().max()), 1e-3) * 1.05
    axes[0].set_ylim(-limit, limit)
    axes[1].set_ylim(-limit, limit)
    spectra = [log_mel(wav, model.sample_rate) for wav in (trip.original, trip.decoded)]
    images = [
        _draw_mel(axis, spectrum, title, float(spectra[0].max()))
        for axis, spectrum, title in zip(axes[2:4], spectra, ("original", "decoded"), strict=True)
    ]
    figure.colorbar(images[-1], ax=list(axes[2:4]), label="log10 magnitude", pad=0.01, aspect=30)
    codes = _draw_codes(axes[4], trip.tokens.codes[0], model)
    figure.colorbar(codes, ax=axes[4], label="code / entries", pad=0.01, aspect=12)
    axes[4].set_xlim(0, seconds)
    axes[4].set_xlabel("time in seconds")
    kbps = model.bitrate(trip.tokens.num_codebooks) / 1000
    figure.suptitle(f"{seconds:.2f} s of speech through codec at {kbps:g} kbps", fontsize=14)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _draw_wave(axis: "Axes", wav: Tensor, sample_rate: int, title: str, colour: str) -> None:
    time = np.arange(len(wav)) / sample_rate
    axis.plot(time, wav.numpy(), color=colour, linewidth=0.4)
    axis.set_ylabel("amplitude")
    axis.set_title(f"{title}: waveform", loc="left", fontsize=10)
    axis.grid(axis="x", alpha=0.3)


def _draw_mel(axis: "Axes", spectrum: Tensor, title: str, top: float) -> "AxesImage":
    image = axis.imshow(
        spectrum.t().numpy(),
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=top - 4.0,
        vmax=top,
        extent=(0, spectrum.shape[0] * HOP_SECONDS, 0, spectrum.shape[1]),
    )
    axis.set_ylabel("mel band")
    axis.set_title(f"{title}: mel spectrogram", loc="left", fontsize=10)
    return image


def _draw_codes(axis: "Axes", codes: Tensor, model: "Codec") -> "AxesImage":
    layers, frames = codes.shape
    sizes = np.array(model.quantizer.sizes[:layers])
    image = axis.imshow(
        codes.numpy() / sizes[:, None],
        aspect="auto",
        interpolation="nearest",
        cmap="viridis",
        vmin=0,
        vmax=1,
        extent=(0, frames * model.hop_length / model.sample_rate, layers + 0.5, 0.5),
    )
    axis.set_yticks(range(1, layers + 1))
    axis.set_ylabel("codebook")
    axis.set_title(f"tokens: {layers} codebooks x {frames} frames", loc="left", fontsize=10)
    return image
