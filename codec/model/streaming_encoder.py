"""Audio to codes, live; :class:`codec.model.codec.Codec` says how it is used."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.engines.base import Engine
from codec.engines.torch import encoding
from codec.errors import CodecError
from codec.model.arrays import to_float
from codec.model.inputs import check_level
from codec.model.network import Network
from codec.model.shield import shielded
from codec.model.slots import OTHER_STREAM, Counts, Latency, Mask, Slots, check_streaming, latency_of, same
from codec.model.steps import Limits, run_even, run_signals


class StreamingEncoder(Slots):
    """Audio to codes, frame by frame; made by ``model.streaming_encoder``.

    ``lengths`` are the frames of each slot in the last result.
    """

    def __init__(
        self, model: Network, engine: Engine, batch: int, num_codebooks: int | None, deterministic: bool
    ):
        check_streaming(model, batch)
        self.num_codebooks = model.quantizer.check_count(num_codebooks)
        super().__init__(model, batch, encoding(model, engine, batch, num_codebooks, deterministic))
        # Samples of the frame that is not complete yet (B, longest), how many by slot, and of the whole
        # signal.
        self._left = torch.zeros(batch, 0)
        self._left_lengths = [0] * batch
        self._num_samples = [0] * batch
        # Frames to come of each slot that belong to none, of an encoder that looks ahead.
        self._early = [model.encoder.delay // model.hop_length] * batch
        self._limits = Limits(model.encoder.first_frames, model.encoder.any_end)
        # Whether the note about samples beyond 1 was given.
        self._noted = False

    @property
    def latency(self) -> Latency:
        """Latency from a sample's arrival to its code: a frame, or at the start as many as the model needs to begin,
        and what its encoder looks ahead."""
        samples = self._limits.first_frames * self.model.hop_length + self.model.encoder.delay
        return latency_of(samples, self.model.sample_rate)

    @property
    def num_samples(self) -> Tensor:
        """``(B,)`` samples since each slot's start: what the decoder needs to end on time."""
        return torch.tensor(self._num_samples)

    @shielded
    def push(self, pcm: Tensor | np.ndarray, lengths: Counts | None = None) -> Tensor:
        """The codes that more audio completes.

        Args:
            pcm: ``(B, n)``, or ``(n,)`` for one slot, at the model's rate: float in [-1, 1], or integers,
                which are scaled by their range.
            lengths: ``(B,)`` samples that count for each slot; all by default.

        Returns:
            ``(B, K, m)`` int64, zeros after a slot's :attr:`lengths`.

        Raises:
            CodecError: on a wrong shape or length, NaN or infinite samples, or a slot that has ended.
        """
        pcm, counts = self._check(pcm, lengths)
        begun = self._begun()
        self._num_samples = [done + count for done, count in zip(self._num_samples, counts, strict=True)]
        steady = all(begun)
        if steady and same(counts) and same(self._left_lengths) and not any(self._early):
            # What a live signal in steady pieces comes to.
            piece = pcm[:, : counts[0]]
            return self._encode_even(torch.cat([self._left, piece], dim=1) if self._left_lengths[0] else piece)
        rows, longest = [row for row, count in enumerate(counts) if count], max(counts)
        if steady and longest % self.model.hop_length == 0 and all(
            counts[row] == longest and not self._left_lengths[row] and not self._early[row] for row in rows
        ):
            return self._encode_frames(pcm[rows, :longest], rows)
        new = [part[:count] for part, count in zip(pcm, counts, strict=True)]
        signals = [torch.cat(pair) for pair in zip(self._signals(), new, strict=True)]
        return self._encode(signals, begun, [False] * self.batch)

    @shielded
    def flush(self, mask: Mask | None = None) -> Tensor:
        """End the signals of the slots in ``mask (B,)``, or all.

        Returns:
            ``(B, K, m)``: the frame of the last samples, if there are any, filled up with silence or as the model
            has it; before it those of a signal that was too short to begin, or that the encoder looked ahead of.
        """
        signals, ending = self._signals(), [False] * self.batch
        for row in self._rows(mask):
            if not self._limits.any_end:
                ahead = self.model.encoder.delay if self._num_samples[row] and not self._ended[row] else 0
                signals[row] = F.pad(signals[row], (0, -len(signals[row]) % self.model.hop_length + ahead))
            ending[row] = self._ended[row] = True
        return self._encode(signals, self._begun(), ending)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything between two pushes, as tensors on the CPU."""
        sizes = torch.tensor(self._left_lengths)
        own = {"left": self._left.clone(), "left_lengths": sizes, "num_samples": self.num_samples}
        if self.model.encoder.delay:
            own |= {"early": torch.tensor(self._early), "delay": self._delays()}
        return self._state_tensors() | own

    @shielded
    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from where :meth:`state_dict` was called.

        Raises:
            CodecError: when it was of another architecture, batch or mode.
        """
        silence = torch.zeros(self.batch, self.model.hop_length)
        if not isinstance(saved, dict) or not self._fits(saved):
            raise CodecError(OTHER_STREAM)
        self._load_tensors(saved, ["left", "left_lengths", "num_samples"], silence)
        if self.model.encoder.delay:
            self._early = saved["early"].tolist()
        self._left = saved["left"].clone()
        self._left_lengths = saved["left_lengths"].tolist()
        self._num_samples = saved["num_samples"].tolist()

    def _fits(self, saved: dict[str, Tensor]) -> bool:
        """Whether a stream's state is of an encoder that lags as much; the other tensors do not show it."""
        delay, early = saved.get("delay"), saved.get("early")
        if not self.model.encoder.delay:
            return delay is None and early is None
        if not isinstance(delay, Tensor) or not isinstance(early, Tensor) or early.dtype != torch.int64:
            return False
        most = self.model.encoder.delay // self.model.hop_length
        within = early.shape == (self.batch,) and bool(((early >= 0) & (early <= most)).all())
        return within and torch.equal(delay, self._delays())

    def _delays(self) -> Tensor:
        return torch.full((self.batch,), self.model.encoder.delay)

    def _restart(self, row: int) -> None:
        self._left_lengths[row] = 0
        self._left = self._left[:, : max(self._left_lengths)]
        self._num_samples[row] = 0
        self._early[row] = self.model.encoder.delay // self.model.hop_length

    def _signals(self) -> list[Tensor]:
        """The rest of each slot's signal, ``(n,)``."""
        return [part[:size] for part, size in zip(self._left, self._left_lengths, strict=True)]

    def _check(self, pcm: Tensor | np.ndarray, lengths: Counts | None) -> tuple[Tensor, list[int]]:
        pcm = to_float(pcm)
        shape = tuple(pcm.shape)
        pcm = pcm.unsqueeze(0) if pcm.ndim == 1 else pcm
        if pcm.ndim != 2 or len(pcm) != self.batch:
            raise CodecError(f"expected audio of shape ({self.batch}, n), got {shape}")
        counts = self._check_lengths(lengths, pcm.shape[1])
        for row, count in enumerate(counts if not _harmless(pcm) else []):
            try:
                self._noted |= check_level(pcm[row : row + 1, :count], note=not self._noted)
            except CodecError as error:
                raise CodecError(f"{self._named(row)}: {error}" if self.batch > 1 else str(error)) from None
        return pcm, counts

    def _encode_even(self, signals: Tensor) -> Tensor:
        """Codes of ``signals (B, T)``, of which every slot has as much."""
        hop = self.model.hop_length
        frames, left = divmod(signals.shape[1], hop)
        self._keep([frames] * self.batch, signals[:, frames * hop :].clone(), [left] * self.batch)
        if not frames:
            return torch.zeros(self.batch, self.num_codebooks, 0, dtype=torch.int64)
        return run_even(self._steps, signals.to(self._device), frames).cpu()

    def _encode_frames(self, pcm: Tensor, rows: list[int]) -> Tensor:
        """Codes of ``pcm (len(rows), n * hop)``: some slots, with as many whole frames and nothing left."""
        frames = pcm.shape[1] // self.model.hop_length
        codes = torch.zeros(self.batch, self.num_codebooks, frames, dtype=torch.int64)
        self._lengths = torch.zeros(self.batch, dtype=torch.int64)
        if frames:
            codes[rows] = run_even(self._steps, pcm.to(self._device), frames, rows).cpu()
            self._lengths[rows] = frames
        return codes

    def _begun(self) -> list[bool]:
        """Whether the model has seen something of each signal, or any number of frames may be the first."""
        alike = self._limits.first_frames == 1
        return [alike or total > left for total, left in zip(self._num_samples, self._left_lengths, strict=True)]

    def _encode(self, signals: list[Tensor], begun: list[bool], ending: list[bool]) -> Tensor:
        hop = self.model.hop_length
        longest = max(-(-len(signal) // hop) for signal in signals)
        codes = torch.zeros(self.batch, self.num_codebooks, longest, dtype=torch.int64)
        filled = [0] * self.batch

        def emit(row: int, piece: Tensor) -> None:
            early = min(self._early[row], piece.shape[1])
            self._early[row] -= early
            piece = piece[:, early:]
            codes[row, :, filled[row] : filled[row] + piece.shape[1]] = piece.cpu()
            filled[row] += piece.shape[1]

        inputs = [signal.to(self._device) for signal in signals]
        used = run_signals(self._steps, inputs, begun, ending, self._limits, emit)
        left = [signal[count:] for signal, count in zip(signals, used, strict=True)]
        rows = torch.nn.utils.rnn.pad_sequence(left, batch_first=True)
        self._keep(filled, rows, [len(part) for part in left])
        return codes[:, :, : max(filled)]

    def _keep(self, frames: list[int], left: Tensor, left_lengths: list[int]) -> None:
        """Note what was encoded, and what is left: no view, which would keep all that was pushed."""
        self._lengths = torch.tensor(frames)
        self._left, self._left_lengths = left, left_lengths


def _harmless(pcm: Tensor) -> bool:
    """Whether all samples lie in [-1, 1]; NaN do not."""
    if not pcm.numel():
        return True
    low, high = pcm.aminmax()
    return low.item() >= -1.0 and high.item() <= 1.0
