"""Live encoding and decoding: sound in pieces of any size, codes and sound as soon as they are known.

A stream has ``batch`` slots, each with a signal of its own, which starts, ends and starts anew
without regard to the others::

    encoder = model.streaming_encoder(batch=2)
    codes = encoder.push(pcm)                      # (2, K, n); frames that are complete by now
    codes = encoder.push(pcm, lengths=[320, 0])    # slot 1 has nothing new
    frames = encoder.lengths                       # (2,): frames of each slot in these codes
    codes = encoder.flush(mask=[True, False])      # slot 0 has ended: its last, padded frame
    encoder.reset(mask=[True, False])              # slot 0 takes a new signal

    decoder = model.streaming_decoder(batch=2)
    wav = decoder.push(codes, lengths=frames)      # (2, samples); decoder.lengths of each slot count
    wav = decoder.flush(encoder.num_samples)       # what the overlap still held, cut to the true end

The codes are those of ``model.encode``, and the sound is that of ``model.decode``.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.errors import CodecError
from codec.model.functions import ABSENT, decoding, encoding
from codec.model.latency import Latency, latency_of
from codec.model.slots import Counts, Mask, Slots, check_streaming
from codec.model.steps import run_even, run_ragged

if TYPE_CHECKING:
    from codec.model.codec import Codec


class StreamingEncoder(Slots):
    """Sound to codes, frame by frame; made by ``model.streaming_encoder``.

    Attributes:
        lengths: ``(B,)`` frames of each slot in the last result.
    """

    def __init__(self, model: "Codec", batch: int, num_codebooks: int | None, deterministic: bool):
        check_streaming(model, batch)
        self.num_codebooks = model.quantizer.check_count(num_codebooks)
        super().__init__(model, batch, encoding(model, batch, num_codebooks, deterministic))
        # Samples of the frame that is not complete yet (B, longest), how many by slot, and of the whole
        # signal.
        self._left = torch.zeros(batch, 0)
        self._left_lengths = [0] * batch
        self._num_samples = [0] * batch

    @property
    def latency(self) -> Latency:
        """From a sample's arrival to its code: a frame."""
        return latency_of(self.model.hop_length, self.model.sample_rate)

    @property
    def num_samples(self) -> Tensor:
        """``(B,)`` samples since each slot's start: what the decoder needs to end on time."""
        return torch.tensor(self._num_samples)

    @torch.inference_mode()
    def push(self, pcm: Tensor | np.ndarray, lengths: Counts | None = None) -> Tensor:
        """The codes that more sound completes.

        Args:
            pcm: ``(B, n)``, or ``(n,)`` for one slot, at the model's rate: float in [-1, 1] or int16.
            lengths: ``(B,)`` samples that count for each slot; all by default.

        Returns:
            ``(B, K, m)`` int64, zeros after a slot's :attr:`lengths`.

        Raises:
            CodecError: on a wrong shape or length, NaN or infinite samples, or a slot that has ended.
        """
        pcm, counts = self._check(pcm, lengths)
        self._num_samples = [done + count for done, count in zip(self._num_samples, counts, strict=True)]
        if _same(counts) and _same(self._left_lengths):
            # What a live signal in steady pieces comes to.
            return self._encode_even(torch.cat([self._left, pcm[:, : counts[0]]], dim=1))
        new = [part[:count] for part, count in zip(pcm, counts, strict=True)]
        return self._encode([torch.cat(pair) for pair in zip(self._signals(), new, strict=True)])

    @torch.inference_mode()
    def flush(self, mask: Mask | None = None) -> Tensor:
        """End the signals of the slots in ``mask (B,)``, or all.

        Returns:
            ``(B, K, m)``, m being 0 or 1: the frame of the last samples, filled up with silence.
        """
        signals = self._signals()
        for row in self._rows(mask):
            signals[row] = F.pad(signals[row], (0, -len(signals[row]) % self.model.hop_length))
            self._ended[row] = True
        return self._encode(signals)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything between two pushes, as tensors on the CPU."""
        sizes = torch.tensor(self._left_lengths)
        own = {"left": self._left.clone(), "left_lengths": sizes, "num_samples": self.num_samples}
        return self._state_tensors() | own

    @torch.inference_mode()
    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Go on where :meth:`state_dict` was called.

        Raises:
            CodecError: when it was of another architecture, batch or mode.
        """
        silence = torch.zeros(self.batch, self.model.hop_length)
        self._load_tensors(saved, ["left", "left_lengths", "num_samples"], silence)
        self._left = saved["left"].clone()
        self._left_lengths = saved["left_lengths"].tolist()
        self._num_samples = saved["num_samples"].tolist()

    def _restart(self, row: int) -> None:
        self._left_lengths[row] = 0
        self._left = self._left[:, : max(self._left_lengths)]
        self._num_samples[row] = 0

    def _signals(self) -> list[Tensor]:
        """What is left of each slot's signal, ``(n,)``."""
        return [part[:size] for part, size in zip(self._left, self._left_lengths, strict=True)]

    def _check(self, pcm: Tensor | np.ndarray, lengths: Counts | None) -> tuple[Tensor, list[int]]:
        pcm = torch.as_tensor(pcm).cpu()
        pcm = pcm.float() / 32_768.0 if pcm.dtype == torch.int16 else pcm.float()
        shape = tuple(pcm.shape)
        pcm = pcm.unsqueeze(0) if pcm.ndim == 1 else pcm
        if pcm.ndim != 2 or len(pcm) != self.batch:
            raise CodecError(f"expected audio of shape ({self.batch}, n), got {shape}")
        counts = self._check_lengths(lengths, pcm.shape[1])
        # One that is not finite makes the sum so too, and so may finite ones; then they are looked at.
        if not math.isfinite(pcm.sum().item()):
            for row, count in enumerate(counts):
                if not torch.isfinite(pcm[row, :count]).all():
                    raise CodecError(f"the audio of slot {row} holds NaN or infinite samples")
        return pcm, counts

    def _encode_even(self, signals: Tensor) -> Tensor:
        """Codes of ``signals (B, T)``, of which every slot has as much."""
        hop = self.model.hop_length
        frames, left = divmod(signals.shape[1], hop)
        self._keep([frames] * self.batch, signals[:, frames * hop :].clone(), [left] * self.batch)
        if not frames:
            return torch.zeros(self.batch, self.num_codebooks, 0, dtype=torch.int64)
        return run_even(self._steps, signals.to(self._device), frames).cpu()

    def _encode(self, signals: list[Tensor]) -> Tensor:
        hop = self.model.hop_length
        frames = [len(signal) // hop for signal in signals]
        codes = torch.zeros(self.batch, self.num_codebooks, max(frames), dtype=torch.int64)
        filled = [0] * self.batch

        def emit(row: int, piece: Tensor) -> None:
            codes[row, :, filled[row] : filled[row] + piece.shape[1]] = piece.cpu()
            filled[row] += piece.shape[1]

        run_ragged(self._steps, [signal.to(self._device) for signal in signals], frames, emit)
        left = [signal[count * hop :] for signal, count in zip(signals, frames, strict=True)]
        rows = torch.nn.utils.rnn.pad_sequence(left, batch_first=True)
        self._keep(frames, rows, [len(part) for part in left])
        return codes

    def _keep(self, frames: list[int], left: Tensor, left_lengths: list[int]) -> None:
        """Note what was encoded, and what is left: no view, which would keep all that was pushed."""
        self.lengths = torch.tensor(frames)
        self._left, self._left_lengths = left, left_lengths


class StreamingDecoder(Slots):
    """Codes to sound, frame by frame; made by ``model.streaming_decoder``.

    Attributes:
        lengths: ``(B,)`` samples of each slot in the last result.
    """

    def __init__(self, model: "Codec", batch: int, deterministic: bool):
        check_streaming(model, batch)
        super().__init__(model, batch, decoding(model, batch, deterministic))
        # Samples that each slot has handed out, those still in the overlap counted as negative;
        # frames it has received; and the samples of its signal, where they are known.
        self._position = [-model.decoder.delay] * batch
        self._frames = [0] * batch
        self._end: list[int | None] = [None] * batch

    @property
    def latency(self) -> Latency:
        """From a frame's code to the end of its sound, beyond the frame itself."""
        return latency_of(self.model.decoder.delay, self.model.sample_rate)

    @torch.inference_mode()
    def push(self, codes: Tensor, lengths: Counts | None = None, num_samples: Counts | None = None) -> Tensor:
        """The sound that more codes complete.

        Args:
            codes: ``(B, K, m)``, or ``(K, m)`` for one slot, of the first K codebooks.
            lengths: ``(B,)`` frames that count for each slot; all by default.
            num_samples: ``(B,)`` samples of each slot's whole signal, below 0 where not yet known; no
                sound comes after them. A model without delay hands out a last frame at once and can
                be told its true end only here.

        Returns:
            ``(B, samples)`` float32 in [-1, 1], zeros after a slot's :attr:`lengths`.

        Raises:
            CodecError: on a wrong shape or length, codes out of range, or a slot that has ended.
        """
        codes, counts = self._check(codes, lengths)
        self._set_end(num_samples, range(self.batch))
        self._frames = [done + count for done, count in zip(self._frames, counts, strict=True)]
        if _same(counts) and _same(self._position) and _same(self._end):
            return self._decode_even(codes[..., : counts[0]])
        return self._decode([part[:, :count] for part, count in zip(codes, counts, strict=True)])

    @torch.inference_mode()
    def flush(self, num_samples: Counts | None = None, mask: Mask | None = None) -> Tensor:
        """End the signals of the slots in ``mask (B,)``, or all.

        Args:
            num_samples: ``(B,)`` as for :meth:`push`; whole frames where it was never told.

        Returns:
            ``(B, samples)``: the sound that the overlap still held, cut to the true end.

        Raises:
            CodecError: when the samples do not fit the frames.
        """
        ending = self._rows(mask)
        self._set_end(num_samples, ending)
        hop = self.model.hop_length
        for row in ending:
            end, frames = self._end[row], self._frames[row]
            if end is not None and -(-end // hop) != frames:
                raise CodecError(f"slot {row}: {end} samples are not the {frames} frames that came")
        tails = [torch.zeros(self.model.num_codebooks, 0, dtype=torch.int64)] * self.batch
        for row in ending:
            if self._frames[row] and not self._ended[row]:
                tails[row] = F.pad(tails[row], (0, self.model.decoder.delay // hop), value=ABSENT)
            self._ended[row] = True
            self._end[row] = self._end[row] if self._end[row] is not None else self._frames[row] * hop
        return self._decode(tails)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything between two pushes, as tensors on the CPU."""
        ends = torch.tensor([-1 if end is None else end for end in self._end])
        own = {"position": torch.tensor(self._position), "frames": torch.tensor(self._frames), "end": ends}
        return self._state_tensors() | own

    @torch.inference_mode()
    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Go on where :meth:`state_dict` was called.

        Raises:
            CodecError: when it was of another architecture, batch or mode.
        """
        silence = torch.full((self.batch, self.model.num_codebooks, 1), ABSENT)
        self._load_tensors(saved, ["position", "frames", "end"], silence)
        self._position = saved["position"].tolist()
        self._frames = saved["frames"].tolist()
        self._end = [None if end < 0 else end for end in saved["end"].tolist()]

    def _restart(self, row: int) -> None:
        self._position[row] = -self.model.decoder.delay
        self._frames[row] = 0
        self._end[row] = None

    def _check(self, codes: Tensor, lengths: Counts | None) -> tuple[Tensor, list[int]]:
        codes = torch.as_tensor(codes).cpu()
        shape = tuple(codes.shape)
        codes = codes.unsqueeze(0) if codes.ndim == 2 else codes
        if codes.ndim != 3 or len(codes) != self.batch or codes.is_floating_point():
            raise CodecError(
                f"expected whole numbers ({self.batch}, K, n) as codes, got {codes.dtype} {shape}"
            )
        self.model.quantizer.check_count(codes.shape[1])
        size = self.model.config.quantizer.codebook_size
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < size:
            raise CodecError(f"codes must lie in 0..{size - 1}; the tokens are damaged")
        return codes.long(), self._check_lengths(lengths, codes.shape[2])

    def _set_end(self, num_samples: Counts | None, rows: Iterable[int]) -> None:
        if num_samples is None:
            return
        ends = self._counts(num_samples, "num_samples")
        for row in rows:
            if 0 <= ends[row] < self._position[row]:
                raise CodecError(
                    f"slot {row}: {self._position[row]} samples were handed out, {ends[row]} is too late"
                )
        for row in rows:
            self._end[row] = ends[row] if ends[row] >= 0 else self._end[row]

    def _decode_even(self, codes: Tensor) -> Tensor:
        """Sound of ``codes (B, K, n)`` where all slots are equally far."""
        frames, start = codes.shape[2], self._position[0]
        if not frames:
            self.lengths = torch.zeros(self.batch, dtype=torch.int64)
            return torch.zeros(self.batch, 0)
        wav = run_even(self._steps, codes.to(self._device), frames)
        self._position = [start + wav.shape[1]] * self.batch
        wav = self._audible(wav, start, self._end[0])
        self.lengths = torch.full((self.batch,), wav.shape[1])
        return wav

    def _decode(self, codes: list[Tensor]) -> Tensor:
        """Sound of each slot's codes ``(K, n)``."""
        pieces: list[list[Tensor]] = [[torch.zeros(0)] for _ in codes]

        def emit(row: int, piece: Tensor) -> None:
            pieces[row].append(self._audible(piece, self._position[row], self._end[row]))
            self._position[row] += len(piece)

        inputs = [part.to(self._device) for part in codes]
        run_ragged(self._steps, inputs, [part.shape[1] for part in codes], emit)
        signals = [torch.cat(parts) for parts in pieces]
        self.lengths = torch.tensor([len(signal) for signal in signals])
        return torch.nn.utils.rnn.pad_sequence(signals, batch_first=True)

    def _audible(self, wav: Tensor, start: int, end: int | None) -> Tensor:
        """What of ``wav (..., n)``, which begins at a position of the signal, lies within the signal."""
        stop = start + wav.shape[-1]
        stop = stop if end is None else max(start, min(stop, end))
        return wav[..., max(0, -start) : max(0, stop - start)].clamp(-1.0, 1.0).cpu()


def _same(values: list) -> bool:
    return values.count(values[0]) == len(values)
