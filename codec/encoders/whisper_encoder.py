"""Whisper's encoder as a speech teacher: log-mel windows of 30 s in, 50 frames a second out."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from codec.encoders.hub import load_pretrained
from codec.encoders.waveform import cut_at_silence
from codec.errors import CodecError

CONTEXT_STEP = 1.0
"""Seconds; contexts are rounded up to it, so that a clip's features depend on no other clip's length."""


def whisper_extractor(model: str, config: Any) -> Any:
    """The model's own feature extractor, or Whisper's defaults where its folder has none."""
    from transformers import WhisperFeatureExtractor

    try:
        return load_pretrained(WhisperFeatureExtractor, model)
    except CodecError:
        return WhisperFeatureExtractor(feature_size=config.num_mel_bins)


class WhisperEncoder:
    """Runs a Whisper encoder over clips of any length.

    Mel frames are centred on multiples of 10 ms and the second convolution, of stride 2 and padding
    1, on every other one of them: frame i is centred on 20 ms times i.

    Whisper was trained on clips padded to 30 s with silence. ``tail_seconds`` stops after that much
    silence instead, which for short clips is several times faster and slightly different.

    Attributes:
        sample_rate: Hz of the input.
        rate: frames per second.
        offset: seconds of frame 0's centre.
    """

    def __init__(
        self,
        encoder: Any,
        extractor: Any,
        read: Callable[[Any], Tensor],
        max_seconds: float,
        tail_seconds: float | None,
    ):
        self.encoder, self.extractor, self._read = encoder, extractor, read
        self.sample_rate = int(extractor.sampling_rate)
        self.stride = 2 * extractor.hop_length
        self.rate, self.offset = self.sample_rate / self.stride, 0.0
        self._positions: int = encoder.config.max_source_positions
        self._max_samples = min(int(max_seconds * self.sample_rate), self._positions * self.stride)
        self._tail = tail_seconds

    def encode(self, wavs: list[Tensor]) -> list[Tensor]:
        """``(T_i, D)`` float32 for each ``(n_i,)`` waveform; T = ceil(n / 320)."""
        pieces = [
            (number, wav[window.start : window.stop])
            for number, wav in enumerate(wavs)
            for window in cut_at_silence(wav, self.stride, self._max_samples)
        ]
        contexts = [self._context(len(piece)) for _, piece in pieces]
        outputs: list[Tensor] = [torch.empty(0)] * len(pieces)
        order = sorted(range(len(pieces)), key=contexts.__getitem__)
        for context, group in groupby(order, key=contexts.__getitem__):
            members = list(group)
            for i, output in zip(
                members, self._forward([pieces[i][1] for i in members], context), strict=True
            ):
                outputs[i] = output
        frames: list[list[Tensor]] = [[] for _ in wavs]
        for (number, _), output in zip(pieces, outputs, strict=True):
            frames[number].append(output)
        return [torch.cat(parts) for parts in frames]

    def _context(self, num_samples: int) -> int:
        """Encoder positions for a window."""
        if self._tail is None:
            return self._positions
        seconds = num_samples / self.sample_rate + self._tail
        seconds = math.ceil(seconds / CONTEXT_STEP) * CONTEXT_STEP
        return min(self._positions, math.ceil(seconds * self.rate))

    @torch.inference_mode()
    def _forward(self, pieces: list[Tensor], context: int) -> list[Tensor]:
        inputs = self.extractor(
            [piece.numpy() for piece in pieces],
            sampling_rate=self.sample_rate,
            padding="max_length",
            max_length=context * self.stride,
            return_tensors="pt",
        )
        weight = self.encoder.conv1.weight
        mel = inputs["input_features"].to(weight.device, weight.dtype)
        with self._shortened(context):
            output = self._read(self.encoder(mel, output_hidden_states=True)).float().cpu()
        lengths = [-(-len(piece) // self.stride) for piece in pieces]
        return [frames[:length] for frames, length in zip(output, lengths, strict=True)]

    @contextmanager
    def _shortened(self, context: int) -> Iterator[None]:
        """Give the encoder a window of ``context`` positions for a while."""
        encoder, whole = self.encoder, self.encoder.embed_positions
        encoder.embed_positions = nn.Embedding.from_pretrained(whole.weight[:context])
        encoder.config.max_source_positions = context
        try:
            yield
        finally:
            encoder.embed_positions = whole
            encoder.config.max_source_positions = self._positions
