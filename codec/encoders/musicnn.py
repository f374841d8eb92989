"""musicnn, a music tagger of the Million Song Dataset: 753 features a frame at 62.5 Hz, or 50 tags."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.audio.mel import mel_filterbank
from codec.encoders.base import Encoder, EncoderConfig
from codec.encoders.hub import locate, teacher_id
from codec.encoders.onnx_file import open_session
from codec.errors import CodecError

FILE = "msd_musicnn.onnx"
SAMPLE_RATE, N_FFT, HOP, NUM_MELS = 16_000, 512, 256, 96
PATCH = 187
"""Frames that the network was trained on, 3 s: its tags are averaged over such patches."""
REACH = 128
"""Frames on each side that a frame of ``mid`` depends on at most; the widest filter sees 128 in all."""
DIMS = {"mid": 753, "penultimate": 200, "tags": 50}


def is_musicnn(model: str) -> bool:
    """Whether a folder holds musicnn."""
    return (Path(model).expanduser() / FILE).is_file()


def open_musicnn(config: EncoderConfig) -> Encoder:
    """musicnn (Pons and Serra 2019, arXiv 1909.06654) from the folder that holds its ONNX file.

    ``mid`` gives frames, centred on every 256th sample; ``penultimate`` and ``tags`` one vector for a clip,
    the mean over patches of 3 s.

    Raises:
        CodecError: for an unknown output.
    """
    output = config.output or "mid"
    if output not in DIMS:
        raise CodecError(f"{config.model}: output {output!r} is none of {', '.join(DIMS)}")
    session = open_session(str(Path(locate(config.model)) / FILE))
    filters = mel_filterbank(SAMPLE_RATE, N_FFT, NUM_MELS).t()

    def run(features: Tensor) -> Tensor:
        (result,) = session.run([output], {"logmel": features[None].numpy()})
        return torch.from_numpy(result)[0] if output == "mid" else torch.from_numpy(result)

    def encode(wavs: list[Tensor]) -> list[Tensor]:
        return [read(log_mel(wav, filters), run) for wav in wavs]

    piece = max(1, round(config.max_seconds * SAMPLE_RATE / HOP))
    read = _in_pieces(piece) if output == "mid" else _over_patches
    return Encoder(
        name=teacher_id(config.model),
        layer=output,
        sample_rate=SAMPLE_RATE,
        rate=SAMPLE_RATE / HOP if output == "mid" else None,
        offset=0.0,
        dim=DIMS[output],
        run=encode,
    )


def log_mel(wav: Tensor, filters: Tensor) -> Tensor:
    """``wav (n,)`` to ``(1 + n // 256, 96)``: ``log10(1 + 10000 m)`` of mel powers, ends padded with zeros."""
    window = torch.hann_window(N_FFT, periodic=True)
    frames = F.pad(wav.float(), (N_FFT // 2, N_FFT // 2)).unfold(0, N_FFT, HOP)
    power = torch.fft.rfft(frames * window).abs().square()
    return torch.log10(1.0 + 10_000.0 * (power @ filters))


def _in_pieces(length: int) -> Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]:
    """Frames of long audio by pieces that see all of their surroundings, which changes no value."""

    def read(mel: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        parts = []
        for start in range(0, len(mel), length):
            stop = min(len(mel), start + length)
            first = max(0, start - REACH)
            frames = run(mel[first : stop + REACH])
            parts.append(frames[start - first : stop - first])
        return torch.cat(parts)

    return read


def _over_patches(mel: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """``(1, D)``: mean over patches, the last of which ends where the clip does."""
    last = max(0, len(mel) - PATCH)
    starts = [*range(0, last, PATCH), last]
    return torch.cat([run(mel[start : start + PATCH]) for start in starts]).mean(dim=0, keepdim=True)
