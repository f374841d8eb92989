"""One step of the model over what all clients have: frames to codes, codes to sound, ends."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from codec.model.codec import Codec
from codec.model.functions import ABSENT
from codec.model.slots import Counts
from codec.model.streaming import StreamingDecoder
from codec.serve.channel import Turn


@dataclass
class Made:
    """What a step made of one client's turn: codes ``(K, n)``, sound ``(T,)``, samples of the signal."""

    codes: np.ndarray
    wav: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    num_samples: int = -1


class _MixedDecoder(StreamingDecoder):
    """Decodes signals of different numbers of codebooks in one step: absent codes fill them up.

    An absent code adds zero, so the sound is the same as without it.
    """

    def _check(self, codes: Tensor, lengths: Counts | None) -> tuple[Tensor, list[int]]:
        # That the codes are in range was checked when they came, or they are our own.
        return codes, self._check_lengths(lengths, codes.shape[2])


class Engine:
    """The streams of all slots; called by one thread only.

    All codebooks are encoded, and each client gets as many as it wants: the first layers do not depend
    on how many follow.
    """

    def __init__(self, model: Codec, slots: int, deterministic: bool):
        self.model = model
        self.slots = slots
        self._encoder = model.streaming_encoder(slots, deterministic=deterministic)
        self._decoder = _MixedDecoder(model, slots, deterministic)

    def warm_up(self) -> None:
        """Pay for what only the first steps cost, before anyone waits for it."""
        for count in {1, self.slots}:
            lengths = [self.model.hop_length] * count + [0] * (self.slots - count)
            codes = self._encoder.push(torch.zeros(self.slots, self.model.hop_length), lengths)
            self._decoder.push(codes, self._encoder.lengths)
        self.reset(list(range(self.slots)))

    def reset(self, slots: list[int]) -> None:
        """These slots take new signals."""
        if slots:
            self._encoder.reset(self._mask(slots))
            self._decoder.reset(self._mask(slots))

    def encode(self, turns: list[Turn]) -> list[Made]:
        """Codes of every turn, in their order; of those that bring codes, these."""
        made = self._encode([turn for turn in turns if turn.pcm is not None])
        for turn in turns:
            if turn.pcm is None:
                none = np.zeros((turn.codebooks, 0), np.int64)
                codes = turn.codes if turn.codes is not None else none
                made[turn.channel.slot] = Made(codes, num_samples=turn.num_samples)
        return [made[turn.channel.slot] for turn in turns]

    def decode(self, turns: list[Turn], made: list[Made]) -> None:
        """Add the sound for those who want it, and make the slots of ended signals ready."""
        by_slot = {turn.channel.slot: part for turn, part in zip(turns, made, strict=True)}
        self._decode([turn for turn in turns if turn.channel.mode != "encode"], by_slot)
        self.reset([turn.channel.slot for turn in turns if turn.ending])

    def _encode(self, turns: list[Turn]) -> dict[int, Made]:
        """Codes by slot; those of an ending turn include its last, padded frame."""
        if not turns:
            return {}
        longest = max(len(turn.pcm) for turn in turns)
        pcm, lengths = torch.zeros(self.slots, longest), [0] * self.slots
        for turn in turns:
            lengths[turn.channel.slot] = len(turn.pcm)
            pcm[turn.channel.slot, : len(turn.pcm)] = torch.from_numpy(turn.pcm)
        parts = [(self._encoder.push(pcm, lengths), self._encoder.lengths)]
        ending = [turn.channel.slot for turn in turns if turn.ending]
        if ending:
            parts.append((self._encoder.flush(self._mask(ending)), self._encoder.lengths))
        num_samples = self._encoder.num_samples.tolist()
        made = {}
        for turn in turns:
            slot = turn.channel.slot
            pieces = [codes[slot, : turn.codebooks, : count[slot]] for codes, count in parts]
            made[slot] = Made(torch.cat(pieces, dim=1).numpy(), num_samples=num_samples[slot])
        return made

    def _decode(self, turns: list[Turn], made: dict[int, Made]) -> None:
        """Add the sound of the turns' codes, and what the overlap held of those that end."""
        if not turns:
            return
        new = {turn.channel.slot: torch.from_numpy(made[turn.channel.slot].codes) for turn in turns}
        ending = [turn.channel.slot for turn in turns if turn.ending]
        ends, lengths = [-1] * self.slots, [0] * self.slots
        for slot in ending:
            ends[slot] = made[slot].num_samples
        longest = max(part.shape[1] for part in new.values())
        codes = torch.full((self.slots, self.model.num_codebooks, longest), ABSENT)
        for slot, part in new.items():
            lengths[slot] = part.shape[1]
            codes[slot, : part.shape[0], : part.shape[1]] = part
        parts = [(self._decoder.push(codes, lengths, ends), self._decoder.lengths)]
        if ending:
            parts.append((self._decoder.flush(ends, self._mask(ending)), self._decoder.lengths))
        for slot in new:
            made[slot].wav = torch.cat([wav[slot, : count[slot]] for wav, count in parts]).numpy()

    def _mask(self, slots: list[int]) -> Tensor:
        mask = torch.zeros(self.slots, dtype=torch.bool)
        mask[slots] = True
        return mask
