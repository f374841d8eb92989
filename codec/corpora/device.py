"""Batches through a network on a device, whose copies and checks do not keep it waiting.

A device encodes faster than a program hands it audio one batch at a time: it waits for copies, and for the search for
NaN in the host's memory. Here the next batch is copied from pinned memory while one is computed, as int16 where that
loses nothing; levels are checked on the device; and codes come back as uint16.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.engines.torch import encoding
from codec.model.chunked import rows_at_once
from codec.model.codec import Codec
from codec.model.inputs import LOUDEST
from codec.model.shield import shielded
from codec.model.stamp import steady_weights
from codec.model.steps import CHUNK_FRAMES, Limits

IN_FLIGHT = 2
"""Batches on their way: one is computed, the next is copied."""
_FULL_SCALE = 32_768.0


def compact(wav: Tensor) -> Tensor:
    """Float32 samples as int16, where they are those of 16-bit audio; else as they are."""
    scaled = wav * _FULL_SCALE
    whole = scaled.to(torch.int16)
    return whole if torch.equal(whole.float(), scaled) else wav


def fits(model: Codec) -> bool:
    """Whether a model's steps need no more than whole frames, as :class:`DeviceEncoder` gives them."""
    return model.causal and Limits(model.encoder.first_frames, model.encoder.any_end) == Limits()


@dataclass
class Flight:
    """A batch on its way.

    Attributes:
        wavs: clips ``(T,)``, float32 or int16.
        codes: ``(B, K, F)`` in the host's memory, uint16 where they fit; valid once :meth:`DeviceEncoder.finish`
            has waited.
        peaks: ``(B,)`` greatest absolute sample of each clip, NaN where it holds one.
        arrived: when both are there; ``None`` on a CPU.
    """

    wavs: Sequence[Tensor]
    codes: Tensor
    peaks: Tensor
    arrived: torch.cuda.Event | None


@dataclass
class _Slot:
    """Pinned memory of one flight, which grows as it is needed."""

    buffers: dict[str, Tensor] = field(default_factory=dict)

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, pinned: bool) -> Tensor:
        size = 1
        for length in shape:
            size *= length
        count = size * dtype.itemsize
        if name not in self.buffers or len(self.buffers[name]) < count:
            self.buffers[name] = torch.empty(count, dtype=torch.uint8, pin_memory=pinned)
        return self.buffers[name][:count].view(dtype).view(shape)


class DeviceEncoder:
    """Codes of batches, of which :data:`IN_FLIGHT` may be on their way; they are those of ``model.encode``."""

    def __init__(self, model: Codec, num_codebooks: int, deterministic: bool = False):
        """
        Args:
            model: for which :func:`fits`, on any device; on a CPU nothing overlaps.
            num_codebooks: that are kept.
            deterministic: as for ``model.encode``.
        """
        self._model, self._count, self._deterministic = model, num_codebooks, deterministic
        self._on_gpu = model.device.type == "cuda"
        self._copying = torch.cuda.Stream(model.device) if self._on_gpu else None
        self._slots = [_Slot() for _ in range(IN_FLIGHT)]
        self._next = 0
        small = max(model.quantizer.sizes) <= 1 << 16
        self._dtype = torch.uint16 if small else torch.int32

    @shielded
    def start(self, wavs: Sequence[Tensor]) -> Flight:
        """Send a batch of clips ``(T,)`` off; flights are to be finished in their order."""
        slot = self._slots[self._next]
        self._next = (self._next + 1) % IN_FLIGHT
        wav = self._to_device(self._padded(wavs, slot))
        with steady_weights():
            codes = torch.cat([self._encode(rows) for rows in wav.split(self._rows(wav))])
        peaks = wav.abs().amax(dim=1)
        return self._to_host(wavs, codes.to(self._dtype), peaks, slot)

    @shielded
    def finish(self, flight: Flight) -> list[Tensor | None]:
        """Codes ``(K, F)`` int64 of each clip; ``None`` where samples are NaN, infinite or far too large."""
        if flight.arrived is not None:
            flight.arrived.synchronize()
        good = (flight.peaks <= LOUDEST).tolist()
        frames = [self._model.num_frames(len(wav)) for wav in flight.wavs]
        codes = flight.codes.to(torch.int64)
        return [one[:, :n].clone() if ok else None for one, n, ok in zip(codes, frames, good, strict=True)]

    def _padded(self, wavs: Sequence[Tensor], slot: _Slot) -> Tensor:
        """``(B, T)`` of whole frames in pinned memory, zeros after each clip's end."""
        longest = self._model.num_frames(max(map(len, wavs))) * self._model.hop_length
        whole = all(wav.dtype == torch.int16 for wav in wavs)
        host = slot.take("wav", (len(wavs), longest), torch.int16 if whole else torch.float32, self._on_gpu)
        for row, wav in zip(host, wavs, strict=True):
            row[: len(wav)] = wav if whole or wav.dtype != torch.int16 else wav.float() / _FULL_SCALE
            row[len(wav) :] = 0
        return host

    def _to_device(self, host: Tensor) -> Tensor:
        """Float32 on the device; on a GPU the copy does not wait for what is computed."""
        if self._copying is None:
            wav = host.to(self._model.device)
        else:
            computing = torch.cuda.current_stream(self._model.device)
            with torch.cuda.stream(self._copying):
                wav = host.to(self._model.device, non_blocking=True)
            computing.wait_stream(self._copying)
            wav.record_stream(computing)
        return wav.float() / _FULL_SCALE if wav.dtype == torch.int16 else wav

    def _rows(self, wav: Tensor) -> int:
        return rows_at_once(wav.shape[1] // self._model.hop_length)

    def _encode(self, wav: Tensor) -> Tensor:
        model, hop, delay = self._model, self._model.hop_length, self._model.encoder.delay
        steps = encoding(model, model.engine, len(wav), self._count, self._deterministic)
        pieces = F.pad(wav, (0, delay)).split(CHUNK_FRAMES * hop, dim=1)
        return torch.cat([steps.run(piece) for piece in pieces], dim=2)[:, :, delay // hop :]

    def _to_host(self, wavs: Sequence[Tensor], codes: Tensor, peaks: Tensor, slot: _Slot) -> Flight:
        if not self._on_gpu:
            return Flight(wavs, codes, peaks, None)
        host = slot.take("codes", tuple(codes.shape), codes.dtype, pinned=True)
        levels = slot.take("peaks", tuple(peaks.shape), peaks.dtype, pinned=True)
        host.copy_(codes, non_blocking=True)
        levels.copy_(peaks, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record(torch.cuda.current_stream(self._model.device))
        return Flight(wavs, host, levels, arrived)
