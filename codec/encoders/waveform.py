"""Encoders of the wav2vec 2.0 family (HuBERT, WavLM, ...): samples in, frames out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from codec.encoders.hub import load_pretrained
from codec.errors import CodecError

SEARCH = 1 / 3
"""Part of a window, at its end, in which the quietest place is looked for."""


def wave_extractor(model: str) -> Any:
    """The model's own feature extractor, or the family's usual one where its folder has none."""
    from transformers import AutoFeatureExtractor, Wav2Vec2FeatureExtractor

    try:
        return load_pretrained(AutoFeatureExtractor, model)
    except CodecError:
        return Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)


class WaveformEncoder:
    """Runs a model of convolutional front end over clips of any length.

    Frame i sees samples ``i * stride`` to ``i * stride + field``; its centre is the middle of these.
    Models whose front end normalises over time (``feat_extract_norm="group"``) are batched by equal
    length only: padding would change every frame. The others are padded, with an attention mask.

    Attributes:
        sample_rate: Hz of the input.
        rate: frames per second.
        offset: seconds of frame 0's centre.
    """

    def __init__(
        self, model: Any, extractor: Any, read: Callable[[Any], Tensor], max_seconds: float
    ):
        kernels, strides = (
            getattr(model.config, "conv_kernel", None),
            getattr(model.config, "conv_stride", None),
        )
        if not kernels or not strides:
            kind = model.config.model_type
            raise CodecError(
                f"teacher of type {kind!r} takes no waveform; use HuBERT, WavLM, wav2vec 2.0, Whisper"
            )
        self.model, self.extractor, self._read = model, extractor, read
        self.sample_rate = int(extractor.sampling_rate)
        self.stride = math.prod(strides)
        self.field = 1 + sum((k - 1) * math.prod(strides[:i]) for i, k in enumerate(kernels))
        self.rate, self.offset = self.sample_rate / self.stride, self.field / 2 / self.sample_rate
        self._exact_length = getattr(model.config, "feat_extract_norm", "group") == "group"
        self._max_samples = int(max_seconds * self.sample_rate)

    def encode(self, wavs: list[Tensor]) -> list[Tensor]:
        """``(T_i, D)`` float32 for each ``(n_i,)`` waveform; T = (n - field) // stride + 1."""
        pieces = []
        for number, wav in enumerate(wavs):
            if len(wav) < self.field:
                raise CodecError(
                    f"{len(wav)} samples are fewer than the teacher's {self.field} for one frame"
                )
            pieces += [(number, window) for window in self._windows(wav)]
        outputs = self._run([piece for _, piece in pieces])
        frames: list[list[Tensor]] = [[] for _ in wavs]
        for (number, _), output in zip(pieces, outputs, strict=True):
            frames[number].append(output)
        return [torch.cat(parts) for parts in frames]

    def _windows(self, wav: Tensor) -> list[Tensor]:
        """Pieces that overlap by ``field - stride``, so that no frame is lost at a seam."""
        overlap = max(0, self.field - self.stride)
        windows = cut_at_silence(wav, self.stride, self._max_samples)
        if len(wav) - windows[-1].start < self.field and len(windows) > 1:
            windows.pop()
        return [wav[window.start : window.stop + overlap] for window in windows]

    def _run(self, pieces: list[Tensor]) -> list[Tensor]:
        if not self._exact_length:
            return self._forward(pieces)
        order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]))
        outputs: list[Tensor] = [torch.empty(0)] * len(pieces)
        for _, group in groupby(order, key=lambda i: len(pieces[i])):
            members = list(group)
            for i, output in zip(members, self._forward([pieces[i] for i in members]), strict=True):
                outputs[i] = output
        return outputs

    @torch.inference_mode()
    def _forward(self, pieces: list[Tensor]) -> list[Tensor]:
        inputs = self.extractor(
            [piece.numpy() for piece in pieces],
            sampling_rate=self.sample_rate,
            padding=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        weight = next(self.model.parameters())
        values = inputs["input_values"].to(weight.device, weight.dtype)
        ragged = len({len(piece) for piece in pieces}) > 1
        mask = inputs["attention_mask"].to(weight.device) if ragged else None
        output = self._read(self.model(values, attention_mask=mask, output_hidden_states=True)).float().cpu()
        lengths = [(len(piece) - self.field) // self.stride + 1 for piece in pieces]
        return [frames[:length] for frames, length in zip(output, lengths, strict=True)]


@dataclass(frozen=True)
class Window:
    """Samples ``start`` to ``stop`` of a clip; ``start`` is a multiple of the teacher's stride."""

    start: int
    stop: int


def cut_at_silence(wav: Tensor, stride: int, max_samples: int) -> list[Window]:
    """Windows of at most ``max_samples`` that cover ``wav (T,)`` without gap or overlap.

    Each cut lies on the quietest frame (``stride`` samples, smoothed over five) in the last third of
    what fits: at a pause when there is one.
    """
    total, limit = len(wav), max_samples // stride
    num_frames = -(-total // stride)
    if num_frames <= limit:
        return [Window(0, total)]
    padded = torch.nn.functional.pad(wav.double(), (0, num_frames * stride - total))
    energy = padded.reshape(num_frames, stride).square().mean(dim=1)
    smooth = torch.nn.functional.avg_pool1d(energy[None, None], 5, 1, 2, count_include_pad=False)[0, 0]
    windows, start = [], 0
    while num_frames - start > limit:
        first = start + max(1, round(limit * (1 - SEARCH)))
        cut = first + int(smooth[first : start + limit + 1].argmin())
        windows.append(Window(start * stride, cut * stride))
        start = cut
    return [*windows, Window(start * stride, total)]
