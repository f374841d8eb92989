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
from codec.model.steps import Limits, run_even, run_signals
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
        # What is kept of codes until others come has to have their shape.
        self._all_layers = deterministic or model.decoder.first_frames > 1
        # Samples that each slot has handed out, those still in the overlap counted as negative;
        # frames it has received; and the samples of its signal, where they are known.
        self._position = [-model.decoder.delay] * batch
        self._frames = [0] * batch
        self._end: list[int | None] = [None] * batch
        self._limits = Limits(model.decoder.first_frames)
        # Codes (K, n) of signals that have too few to begin.
        self._held = [torch.zeros(model.num_codebooks, 0, dtype=torch.int64)] * batch

    @property
    def latency(self) -> Latency:
        """Latency from a frame's code to the end of its audio, beyond the frame itself."""
        waiting = (self._limits.first_frames - 1) * self.model.hop_length
        return latency_of(self.model.decoder.delay + waiting, self.model.sample_rate)

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
        begun = self._begun()
        self._frames = [done + count for done, count in zip(self._frames, counts, strict=True)]
        if not all(begun):
            return self._begin([part[:, :count] for part, count in zip(codes, counts, strict=True)], begun)
        rows = [row for row, count in enumerate(counts) if count]
        if not rows:
            self._lengths = torch.zeros(self.batch, dtype=torch.int64)
            return torch.zeros(self.batch, 0)
        if same([counts[row] for row in rows]):
            some = codes if len(rows) == self.batch else codes[rows]
            return self._decode_even(some[..., : counts[rows[0]]], rows)
        new = [part[:, :count] for part, count in zip(codes, counts, strict=True)]
        return self._decode(new, begun, [False] * self.batch)

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
                raise CodecError(f"{self._named(row)} ends at {end} samples, but {frames} frames came")
        tails = [torch.zeros(self.model.num_codebooks, 0, dtype=torch.int64)] * self.batch
        begun, ended = self._begun(), [False] * self.batch
        for row in ending:
            ended[row] = True
            if not begun[row]:
                tails[row], self._held[row] = self._held[row], tails[row]
            if self._frames[row] and not self._ended[row]:
                tails[row] = F.pad(tails[row], (0, self.model.decoder.delay // hop), value=ABSENT)
            self._ended[row] = True
            self._end[row] = self._end[row] if self._end[row] is not None else self._frames[row] * hop
        return self._decode(tails, begun, ended)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything between two pushes, as tensors on the CPU."""
        ends = torch.tensor([-1 if end is None else end for end in self._end])
        own = {"position": torch.tensor(self._position), "frames": torch.tensor(self._frames), "end": ends}
        if self._limits.first_frames > 1:
            sizes = torch.tensor([held.shape[1] for held in self._held])
            held = torch.full((self.batch, self.model.num_codebooks, int(sizes.max())), ABSENT)
            for row, codes in enumerate(self._held):
                held[row, :, : codes.shape[1]] = codes
            own |= {"held": held, "held_lengths": sizes}
        return self._state_tensors() | own

    @shielded
    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from where :meth:`state_dict` was called.

        Raises:
            CodecError: when it was of another architecture, batch or mode.
        """
        silence = torch.full((self.batch, self.model.num_codebooks, 1), ABSENT)
        held = ["held", "held_lengths"] if self._limits.first_frames > 1 else []
        self._load_tensors(saved, ["position", "frames", "end", *held], silence)
        if held:
            sizes = saved["held_lengths"].tolist()
            self._held = [codes[:, :size].clone() for codes, size in zip(saved["held"], sizes, strict=True)]
        self._position = saved["position"].tolist()
        self._frames = saved["frames"].tolist()
        self._end = [None if end < 0 else end for end in saved["end"].tolist()]

    def _restart(self, row: int) -> None:
        self._position[row] = -self.model.decoder.delay
        self._frames[row] = 0
        self._end[row] = None
        self._held[row] = self._held[row][:, :0]

    def _check(self, codes: Codes, lengths: Counts | None) -> tuple[Tensor, list[int]]:
        codes = to_codes(codes)
        shape = tuple(codes.shape)
        codes = codes.unsqueeze(0) if codes.ndim == 2 else codes
        if codes.ndim != 3 or len(codes) != self.batch:
            raise CodecError(f"expected codes ({self.batch}, K, n), got shape {shape}")
        self.model.quantizer.check_codes(codes, self._lowest_code)
        counts = self._check_lengths(lengths, codes.shape[2])
        if self._all_layers:
            codes = F.pad(codes, (0, 0, 0, self.model.num_codebooks - codes.shape[1]), value=ABSENT)
        return codes, counts

    def _set_end(self, num_samples: Counts | None, rows: Iterable[int]) -> None:
        if num_samples is None:
            return
        ends = self._counts(num_samples, "num_samples")
        for row in rows:
            if 0 <= ends[row] < self._position[row]:
                raise CodecError(
                    f"{self._named(row)} has handed out {self._position[row]} samples; the end {ends[row]} is too late"
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

    def _begun(self) -> list[bool]:
        """Whether the model has seen something of each signal, or any number of frames may be the first."""
        alike = self._limits.first_frames == 1
        return [
            alike or frames > held.shape[1] for frames, held in zip(self._frames, self._held, strict=True)
        ]

    def _begin(self, new: list[Tensor], begun: list[bool]) -> Tensor:
        """Audio of each slot's new codes ``(K', n)``, where some have not begun: they may have to wait."""
        hop = self.model.hop_length
        ended = [end is not None and frames * hop >= end for end, frames in zip(self._end, self._frames, strict=True)]
        for row, codes in enumerate(new):
            if not begun[row]:
                self._held[row] = torch.cat([self._held[row], codes], dim=1)
        signals = [new[row] if begun[row] else held for row, held in enumerate(self._held)]
        for row, signal in enumerate(signals):
            if ended[row] or signal.shape[1] >= self._limits.first_frames:
                self._held[row] = signal[:, :0]
        return self._decode(signals, begun, ended)

    def _decode(self, codes: list[Tensor], begun: list[bool], ended: list[bool]) -> Tensor:
        """Audio of each slot's codes ``(K, n)``."""
        pieces: list[list[Tensor]] = [[torch.zeros(0)] for _ in codes]

        def emit(row: int, piece: Tensor) -> None:
            pieces[row].append(self._audible(row, piece.clamp(-1.0, 1.0).cpu()))

        inputs = [part.to(self._device) for part in codes]
        run_signals(self._steps, inputs, begun, ended, self._limits, emit)
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
