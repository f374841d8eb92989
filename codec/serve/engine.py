"""One step of the model over what all clients have: frames to codes, codes to sound, ends."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from codec.model.codec import Codec
from codec.serve.channel import Turn


@dataclass
class Made:
    """What a step made of one client's turn: codes ``(K, n)``, sound ``(T,)``, samples of the signal."""

    codes: np.ndarray
    wav: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    num_samples: int = -1


class Engine:
    """The streams of all slots; called by one thread only.

    All codebooks are encoded, and each client gets as many as it wants: the first layers do not depend
    on how many follow. A decoder's step takes one number of codebooks, so there is one for each in use.
    """

    def __init__(self, model: Codec, slots: int, deterministic: bool):
        self.model = model
        self.slots = slots
        self._encoder = model.streaming_encoder(slots, deterministic=deterministic)
        self._decoder = model.streaming_decoder(slots, deterministic=deterministic)

    def reset(self, slots: list[int]) -> None:
        """These slots take new signals."""
        if slots:
            self._encoder.reset(self._mask(slots))
            self._decoder.reset(self._mask(slots))

    def step(self, turns: list[Turn]) -> list[Made]:
        """What every turn comes to, in their order."""
        made = self._encode([turn for turn in turns if turn.pcm is not None])
        for turn in turns:
            if turn.pcm is None:
                none = np.zeros((turn.codebooks, 0), np.int64)
                made[turn.channel.slot] = Made(turn.codes if turn.codes is not None else none)
                made[turn.channel.slot].num_samples = turn.num_samples
        self._decode([turn for turn in turns if turn.channel.mode != "encode"], made)
        self.reset([turn.channel.slot for turn in turns if turn.ending])
        return [made[turn.channel.slot] for turn in turns]

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
        pieces: dict[int, list[Tensor]] = {turn.channel.slot: [] for turn in turns}
        ends = [-1] * self.slots
        for turn in turns:
            if turn.ending:
                ends[turn.channel.slot] = made[turn.channel.slot].num_samples
        for count in sorted({turn.codebooks for turn in turns}):
            group = {t.channel.slot: made[t.channel.slot].codes for t in turns if t.codebooks == count}
            longest = max(codes.shape[1] for codes in group.values())
            if not longest:
                continue
            codes, lengths = torch.zeros(self.slots, count, longest, dtype=torch.int64), [0] * self.slots
            for slot, part in group.items():
                lengths[slot] = part.shape[1]
                codes[slot, :, : part.shape[1]] = torch.from_numpy(part)
            known = [end if slot in group else -1 for slot, end in enumerate(ends)]
            self._collect(self._decoder.push(codes, lengths, known), list(group), pieces)
        ending = [turn.channel.slot for turn in turns if turn.ending]
        if ending:
            self._collect(self._decoder.flush(ends, self._mask(ending)), ending, pieces)
        for slot, parts in pieces.items():
            if parts:
                made[slot].wav = torch.cat(parts).numpy()

    def _collect(self, wav: Tensor, slots: list[int], pieces: dict[int, list[Tensor]]) -> None:
        for slot in slots:
            pieces[slot].append(wav[slot, : self._decoder.lengths[slot]])

    def _mask(self, slots: list[int]) -> Tensor:
        mask = torch.zeros(self.slots, dtype=torch.bool)
        mask[slots] = True
        return mask
