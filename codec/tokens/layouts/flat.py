"""One sequence, each code an id: frame by frame, or codebook by codebook."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.tokens.layouts.base import Layout, layout
from codec.tokens.layouts.vocabulary import IdRange, read_id, read_ids


@dataclass(frozen=True)
class SequenceLayout(Layout):
    """A layout of one id at each position."""

    markers: bool = False
    """Begin with the special ``start`` and close with ``end``; decoding takes both forms."""

    def marked(self, ids: Tensor) -> Tensor:
        """Ids ``(N,)`` with the markers, where the layout has them."""
        if not self.markers:
            return ids
        start, end = (torch.tensor([self.ids.specials[name]]) for name in ("start", "end"))
        return torch.cat([start, ids, end])

    def body(self, ids: Any) -> Tensor:
        """Ids without markers, up to the end."""
        sequence = read_ids(ids)
        if len(sequence) and sequence[0] == self.ids.specials["start"]:
            sequence = sequence[1:]
        ends = (sequence == self.ids.specials["end"]).nonzero()
        return sequence[: int(ends[0])] if len(ends) else sequence


class SequenceDecoder:
    """Markers off, the rest to :meth:`take`."""

    def __init__(self, ids: IdRange):
        self.ids = ids
        self._begun = self._ended = False

    def decode_stream(self, number: int, /) -> Tensor | None:
        """See :class:`codec.tokens.layouts.base.StreamDecoder`."""
        number = read_id(number)
        first, self._begun = not self._begun, True
        if self._ended or (first and number == self.ids.specials["start"]):
            return None
        if number == self.ids.specials["end"]:
            self._ended = True
            return None
        return self.take(number)

    def take(self, number: int) -> Tensor | None:
        """What an id of the body completes."""
        raise NotImplementedError


@layout("flat")
class Flat(SequenceLayout):
    """Frame-major: code c of codebook q and frame t at ``t * K + q``, ``id = base + offsets[q] + c``.

    ESPnet SpeechLM, AudioLM's coarse stage and many data sets of tokens have this order.
    """

    def encode(self, codes: Any) -> Tensor:
        """``(K * T,)`` ids, and 2 markers where the layout has them."""
        codes = self.vocab.read_codes(codes)
        offsets = torch.tensor(self.ids.offsets[:-1]).unsqueeze(1)
        return self.marked((codes + offsets + self.ids.base).t().reshape(-1))

    def decode(self, ids: Any) -> Tensor:
        """See :meth:`Layout.decode`."""
        layers, codes = self.ids.locate_all(self.body(ids))
        check_order(layers, torch.arange(len(layers)) % self.num_codebooks)
        frames = len(codes) // self.num_codebooks
        return codes[: frames * self.num_codebooks].reshape(frames, self.num_codebooks).t().contiguous()

    def allowed(self, ids: Any) -> list[int]:
        """The ids that may follow ``ids (N,)``, for constrained sampling (``prefix_allowed_tokens_fn``)."""
        sequence, specials = read_ids(ids), self.ids.specials
        if self.markers and not len(sequence):
            return [specials["start"]]
        if len(sequence) and sequence[-1] == specials["end"]:
            return [specials["end"]]
        layer = len(self.body(sequence)) % self.num_codebooks
        first = self.ids.base + self.ids.offsets[layer]
        codes = list(range(first, first + self.widths[layer]))
        return [*codes, specials["end"]] if self.markers and layer == 0 else codes

    def decoder(self) -> "FlatDecoder":
        """See :meth:`Layout.decoder`."""
        return FlatDecoder(self.ids)


class FlatDecoder(SequenceDecoder):
    """Collects the codes of a frame."""

    def __init__(self, ids: IdRange):
        super().__init__(ids)
        self._frame: list[int] = []

    def take(self, number: int) -> Tensor | None:
        """A frame with its last code."""
        layer, code = self.ids.locate(number)
        if layer != len(self._frame):
            raise CodecError(f"id {number} is of codebook {layer}, where one of {len(self._frame)} is due")
        self._frame.append(code)
        if len(self._frame) < len(self.ids.widths):
            return None
        frame, self._frame = self._frame, []
        return torch.tensor(frame).unsqueeze(1)


@layout("coarse_first")
class CoarseFirst(SequenceLayout):
    """Codebook-major: code c of codebook q and frame t at ``q * T + t``.

    A model that writes it decides the length with the first codebook; frames are complete with the last one.
    """

    def encode(self, codes: Any) -> Tensor:
        """``(K * T,)`` ids, and 2 markers where the layout has them."""
        codes = self.vocab.read_codes(codes)
        offsets = torch.tensor(self.ids.offsets[:-1]).unsqueeze(1)
        return self.marked((codes + offsets + self.ids.base).reshape(-1))

    def decode(self, ids: Any) -> Tensor:
        """See :meth:`Layout.decode`."""
        layers, codes = self.ids.locate_all(self.body(ids))
        frames = int((layers.cummax(0).values == 0).sum()) if len(layers) else 0
        expected = torch.arange(len(layers)) // max(frames, 1)
        check_order(layers, expected)
        complete = max(len(codes) - frames * (self.num_codebooks - 1), 0)
        rows = [codes[q * frames : q * frames + complete] for q in range(self.num_codebooks)]
        return torch.stack(rows)

    def decoder(self) -> "CoarseFirstDecoder":
        """See :meth:`Layout.decoder`."""
        return CoarseFirstDecoder(self.ids)


class CoarseFirstDecoder(SequenceDecoder):
    """Keeps all codebooks but the last, whose codes complete the frames."""

    def __init__(self, ids: IdRange):
        super().__init__(ids)
        self._rows: list[list[int]] = [[] for _ in ids.widths]

    def take(self, number: int) -> Tensor | None:
        """A frame with each code of the last codebook."""
        layer, code = self.ids.locate(number)
        frames = len(self._rows[0])
        due = next((q for q, row in enumerate(self._rows) if len(row) < frames), len(self._rows))
        # As long as no second codebook has begun, the first may go on.
        open_first = len(self._rows) == 1 or not self._rows[1]
        if not (layer == 0 and open_first) and (layer != due or not frames):
            raise CodecError(f"id {number} is of codebook {layer}, where one of {due} is due")
        self._rows[layer].append(code)
        if layer < len(self._rows) - 1:
            return None
        frame = len(self._rows[-1]) - 1
        return torch.tensor([[row[frame]] for row in self._rows])


def check_order(layers: Tensor, expected: Tensor) -> None:
    """Raise a :class:`CodecError` unless each code is of the codebook that is due."""
    wrong = (layers != expected).nonzero()
    if len(wrong):
        at = int(wrong[0])
        found, due = int(layers[at]), int(expected[at])
        raise CodecError(f"position {at}: a code of codebook {found}, where one of {due} is due")
