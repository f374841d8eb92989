"""One step of the model over what all clients have: frames to codes, codes to audio, ends."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from codec.model.codec import Codec
from codec.quantizers import ABSENT
from codec.serve.channel import Turn


@dataclass
class Made:
    """The result of one client's turn in a step: codes ``(K, n)``, audio ``(T,)``.

    An encoder that looks ahead makes fewer frames of a signal's first samples, and more at its end.
    """

    codes: np.ndarray
    wav: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def frames(self) -> int:
        """The number n of frames."""
        return self.codes.shape[1]


class Streams:
    """The streams of all slots; called by one thread only.

    All codebooks are encoded, and each client gets as many as it wants: the first layers do not depend
    on how many follow.
    """

    def __init__(self, model: Codec, slots: int, deterministic: bool):
        self.model = model
        self.slots = slots
        self._encoder = model.streaming_encoder(slots, deterministic=deterministic)
        # Clients choose how many codebooks they have; absent codes fill the others up.
        self._decoder = model.streaming_decoder(slots, deterministic, allow_absent=True)

    def warm_up(self) -> None:
        """Pay for what only the first steps cost, before anyone waits for it."""
        hop, first = self.model.hop_length, self._encoder.latency.samples
        for count in {1, self.slots}:
            for samples in (first, hop):
                lengths = [samples] * count + [0] * (self.slots - count)
                codes = self._encoder.push(torch.zeros(self.slots, samples), lengths)
                self._decoder.push(codes, self._encoder.lengths)
        self.reset(list(range(self.slots)))

    def reset(self, slots: list[int]) -> None:
        """These slots take new signals."""
        if slots:
            self._encoder.reset(self._mask(slots))
            self._decoder.reset(self._mask(slots))

    def encode(self, turns: list[Turn]) -> list[Made]:
        """Codes of every turn, in their order; of those that bring codes, these."""
        new = self._encode([turn for turn in turns if turn.channel.mode != "decode"])
        made = []
        for turn in turns:
            codes = new.get(turn.channel.slot) if turn.codes is None else turn.codes
            made.append(Made(np.zeros((turn.codebooks, 0), np.int64) if codes is None else codes))
        return made

    def decode(self, turns: list[Turn], made: list[Made]) -> None:
        """Add the audio for those who want it, and make the slots of ended signals ready."""
        wanted = [pair for pair in zip(turns, made, strict=True) if pair[0].channel.mode != "encode"]
        if wanted:
            self._decode(wanted)
        self.reset([turn.channel.slot for turn in turns if turn.ending])

    def _encode(self, turns: list[Turn]) -> dict[int, np.ndarray]:
        """Codes ``(K, n)`` by slot of turns with audio, or whose audio ends."""
        lengths = [0] * self.slots
        longest = max((len(turn.pcm) for turn in turns if turn.pcm is not None), default=0)
        pcm = np.zeros((self.slots, longest), np.float32)
        for turn in turns:
            if turn.pcm is not None:
                lengths[turn.channel.slot] = len(turn.pcm)
                pcm[turn.channel.slot, : len(turn.pcm)] = turn.pcm
        codes, counts = [], []
        if any(lengths):
            codes.append(self._encoder.push(torch.from_numpy(pcm), lengths))
            counts.append(self._encoder.lengths)
        ends = [turn.channel.slot for turn in turns if self._is_left(turn, counts)]
        if ends:
            codes.append(self._encoder.flush(self._mask(ends)))
            counts.append(self._encoder.lengths)
        return {turn.channel.slot: self._codes_of(turn, codes, counts) for turn in turns} if codes else {}

    def _is_left(self, turn: Turn, counts: list[Tensor]) -> bool:
        """Whether more codes come at the end of a turn's signal than what its samples gave, as ``counts`` say."""
        if self.model.encoder.delay:
            return turn.ending
        # Ends that are no whole frame, of a model that takes them, and signals too short for a first step.
        return turn.pcm is not None and int(counts[0][turn.channel.slot]) < turn.frames

    @staticmethod
    def _codes_of(turn: Turn, codes: list[Tensor], counts: list[Tensor]) -> np.ndarray:
        """Codes ``(K, n)`` of a turn in what was made for all slots."""
        slot = turn.channel.slot
        parts = [made[slot, :, : count[slot]] for made, count in zip(codes, counts, strict=True)]
        return torch.cat(parts, dim=1).numpy()[: turn.codebooks]

    def _decode(self, wanted: list[tuple[Turn, Made]]) -> None:
        """Add the audio of the turns' codes and tails."""
        ends, lengths = [-1] * self.slots, [0] * self.slots
        longest = max(part.frames + turn.tail for turn, part in wanted)
        codes = np.full((self.slots, self.model.num_codebooks, longest), ABSENT)
        for turn, part in wanted:
            lengths[turn.channel.slot] = part.frames + turn.tail
            codes[turn.channel.slot, : len(part.codes), : part.frames] = part.codes
            if turn.ending:
                # A model without delay may have handed out all of the last frame before its true end came.
                ends[turn.channel.slot] = max(turn.num_samples, turn.channel.samples_out)
        wav = self._decoder.push(torch.from_numpy(codes), lengths, ends).numpy()
        samples = self._decoder.lengths.tolist()
        for turn, part in wanted:
            part.wav = wav[turn.channel.slot, : samples[turn.channel.slot]]

    def _mask(self, slots: list[int]) -> Tensor:
        mask = torch.zeros(self.slots, dtype=torch.bool)
        mask[slots] = True
        return mask
