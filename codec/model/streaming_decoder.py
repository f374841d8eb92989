"""Codes to audio, live; :class:`codec.model.codec.Codec` says how it is used."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.engines.base import Engine
from codec.engines.torch import decoding
from codec.errors import CodecError
from codec.model.arrays import to_codes
from codec.model.codes import Codes
from codec.model.network import Network
from codec.model.shield import shielded
from codec.model.slots import Counts, Latency, Mask, Slots, check_streaming, latency_of, same
from codec.model.steps import run_even, run_ragged
from codec.quantizers import ABSENT


class StreamingDecoder(Slots):
    """Codes to audio, frame by frame; made by ``model.streaming_decoder``.

    ``lengths`` are the samples of each slot in the last result.
    """

    def __init__(
        self, model: Network, engine: Engine, batch: int, deterministic: bool, allow_absent: bool = False
    ):
        check_streaming(model, batch)
        super().__init__(model, batch, decoding(model, engine, batch, deterministic))
        self._lowest_code = ABSENT if allow_absent else 0
        # Samples that each slot has handed out, those still in the overlap counted as negative;
        # frames it has received; and the samples of its signal, where they are known.
        self._position = [-model.decoder.delay] * batch
        self._frames = [0] * batch
        self._end: list[int | None] = [None] * batch

    @property
    def latency(self) -> Latency:
        """Latency from a frame's code to the end of its audio, beyond the frame itself."""
        return latency_of(self.model.decoder.delay, self.model.sample_rate)

    @shielded
    def push(self, codes: Codes, lengths: Counts | None = None, num_samples: Counts | None = None) -> Tensor:
        """The audio that more codes complete.

        Args:
            codes: ``(B, K, m)``, or ``(K, m)`` for one slot, of the first K codebooks;
                :data:`codec.quantizers.ABSENT` where a slot has fewer, if the decoder allows it.
            lengths: ``(B,)`` frames that count for each slot; all by default.
            num_samples: ``(B,)`` samples of each slot's whole signal, below 0 where not yet known; no
                audio comes after them. A model without delay hands out a last frame at once and can
                take its true end only here.

        Returns:
            ``(B, samples)`` float32 in [-1, 1], zeros after a slot's :attr:`lengths`.

        Raises:
            CodecError: on a wrong shape or length, codes out of range, or a slot that has ended.
        """
        codes, counts = self._check(codes, lengths)
        self._set_end(num_samples, range(self.batch))
        self._frames = [done + count for done, count in zip(self._frames, counts, strict=True)]
        rows = [row for row, count in enumerate(counts) if count]
        if not rows:
            self._lengths = torch.zeros(self.batch, dtype=torch.int64)
            return torch.zeros(self.batch, 0)
        if same([counts[row] for row in rows]):
            return self._decode_even(codes[rows, :, : counts[rows[0]]], rows)
        return self._decode([part[:, :count] for part, count in zip(codes, counts, strict=True)])

    @shielded
    def flush(self, num_samples: Counts | None = None, mask: Mask | None = None) -> Tensor:
        """End the signals of the slots in ``mask (B,)``, or all.

        Args:
            num_samples: ``(B,)`` as for :meth:`push`; whole frames where it was never given.

        Returns:
            ``(B, samples)``: the audio that the overlap still held, cut to the true end.

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

    @shielded
    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from where :meth:`state_dict` was called.

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

    def _check(self, codes: Codes, lengths: Counts | None) -> tuple[Tensor, list[int]]:
        codes = to_codes(codes)
        shape = tuple(codes.shape)
        codes = codes.unsqueeze(0) if codes.ndim == 2 else codes
        if codes.ndim != 3 or len(codes) != self.batch:
            raise CodecError(f"expected codes ({self.batch}, K, n), got shape {shape}")
        self.model.quantizer.check_codes(codes, self._lowest_code)
        return codes, self._check_lengths(lengths, codes.shape[2])

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

    def _decode_even(self, codes: Tensor, rows: list[int]) -> Tensor:
        """Audio of ``codes (len(rows), K, n)`` of some slots."""
        wav = run_even(self._steps, codes.to(self._device), codes.shape[2], rows).clamp(-1.0, 1.0).cpu()
        signals = [self._audible(row, part) for row, part in zip(rows, wav, strict=True)]
        lengths = [0] * self.batch
        for row, signal in zip(rows, signals, strict=True):
            lengths[row] = signal.shape[0]
        self._lengths = torch.tensor(lengths)
        if lengths == [wav.shape[1]] * self.batch:
            return wav
        result = torch.zeros(self.batch, max(lengths))
        for row, signal in zip(rows, signals, strict=True):
            result[row, : lengths[row]] = signal
        return result

    def _decode(self, codes: list[Tensor]) -> Tensor:
        """Audio of each slot's codes ``(K, n)``."""
        pieces: list[list[Tensor]] = [[torch.zeros(0)] for _ in codes]

        def emit(row: int, piece: Tensor) -> None:
            pieces[row].append(self._audible(row, piece.clamp(-1.0, 1.0).cpu()))

        inputs = [part.to(self._device) for part in codes]
        run_ragged(self._steps, inputs, [part.shape[1] for part in codes], emit)
        signals = [torch.cat(parts) for parts in pieces]
        self._lengths = torch.tensor([len(signal) for signal in signals])
        return torch.nn.utils.rnn.pad_sequence(signals, batch_first=True)

    def _audible(self, row: int, wav: Tensor) -> Tensor:
        """The part of a slot's next samples ``(n,)`` within its signal; advances the position."""
        start, end = self._position[row], self._end[row]
        stop = start + wav.shape[0]
        self._position[row] = stop
        stop = stop if end is None else max(start, min(stop, end))
        return wav[max(0, -start) : max(0, stop - start)]
