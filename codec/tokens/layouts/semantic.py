"""The first codebook as a sequence of its own, then what it leaves open."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.tokens.layouts.base import layout
from codec.tokens.layouts.flat import SequenceDecoder, SequenceLayout, check_order


@dataclass(frozen=True)
class SemanticParts:
    """What an autoregressive model writes, and what a second one adds.

    Attributes:
        semantic: ``(T,)`` codes of the first codebook.
        acoustic: ``(K - 1, T)`` codes of the others.
    """

    semantic: Tensor
    acoustic: Tensor

    @property
    def codes(self) -> Tensor:
        """Both, ``(K, T)``."""
        return torch.cat([self.semantic.unsqueeze(0), self.acoustic])


@layout("semantic_first")
class SemanticFirst(SequenceLayout):
    """Codebook 0 over the whole clip, the special ``sep``, then the other codebooks frame by frame.

    The first part with its ``sep`` is what the autoregressive stage of AudioLM, VALL-E and USLM learns; the
    rest is a second stage's, whether it reads a sequence or :meth:`parts`.
    """

    def encode(self, codes: Any) -> Tensor:
        """``(n + 1 + (K - 1) * T,)`` ids, n of the first codebook, and 2 markers where the layout has them."""
        parts = self.parts(codes)
        offsets = torch.tensor(self.ids.offsets[1:-1], dtype=torch.int64).unsqueeze(1)
        rest = (parts.acoustic + offsets + self.ids.base).t().reshape(-1)
        semantic = torch.tensor(self.to_first(parts.semantic.tolist()), dtype=torch.int64) + self.ids.base
        return self.marked(torch.cat([semantic, torch.tensor([self.ids.specials["sep"]]), rest]))

    def parts(self, codes: Any) -> SemanticParts:
        """Codes ``(K, T)`` in two parts."""
        codes = self.vocab.read_codes(codes)
        return SemanticParts(codes[0], codes[1:])

    def decode(self, ids: Any) -> Tensor:
        """See :meth:`Layout.decode`."""
        body = self.body(ids)
        seps = (body == self.ids.specials["sep"]).nonzero()
        semantic = body[: int(seps[0])] if len(seps) else body
        layers, numbers = self.ids.locate_all(semantic)
        check_order(layers, torch.zeros_like(layers))
        first = torch.tensor([code for n in numbers.tolist() for code in self.from_first(n)], dtype=torch.int64)
        rest = body[int(seps[0]) + 1 :] if len(seps) else body[:0]
        layers, codes = self.ids.locate_all(rest)
        width = self.num_codebooks - 1
        if len(rest) > width * len(first):
            raise CodecError(f"{len(rest)} ids after a semantic part of {len(first)} frames, for {width} ids each")
        if not width:
            return first.unsqueeze(0)
        check_order(layers, 1 + torch.arange(len(rest)) % width)
        frames = len(rest) // width
        acoustic = codes[: frames * width].reshape(frames, width).t()
        return torch.cat([first[:frames].unsqueeze(0), acoustic])

    def to_first(self, codes: list[int]) -> list[int]:
        """Codes of the first codebook to numbers of the first layer's ids."""
        return codes

    def from_first(self, number: int) -> Sequence[int]:
        """The codes that one such number stands for."""
        return (number,)

    def decoder(self) -> "SemanticDecoder":
        """See :meth:`Layout.decoder`."""
        return SemanticDecoder(self)


class SemanticDecoder(SequenceDecoder):
    """Frames as the second part comes; of a single codebook, as the first does."""

    def __init__(self, layout: SemanticFirst):
        super().__init__(layout.ids)
        self._layout = layout
        self._semantic: list[int] = []
        self._group: list[int] = []
        self._frames = 0
        self._separated = False

    def take(self, number: int) -> Tensor | None:
        """What an id of either part completes."""
        if not self._separated and number == self.ids.specials["sep"]:
            self._separated = True
            return None
        layer, code = self.ids.locate(number)
        if not self._separated:
            return self._take_first(number, layer, code)
        if self._frames == len(self._semantic) or self._layout.num_codebooks == 1:
            raise CodecError(f"id {number} after the last of {len(self._semantic)} frames")
        if layer != len(self._group) + 1:
            raise CodecError(f"id {number} is of codebook {layer}, where one of {len(self._group) + 1} is due")
        self._group.append(code)
        if len(self._group) < self._layout.num_codebooks - 1:
            return None
        frame, self._group = [self._semantic[self._frames], *self._group], []
        self._frames += 1
        return torch.tensor(frame).unsqueeze(1)

    def _take_first(self, number: int, layer: int, code: int) -> Tensor | None:
        if layer:
            raise CodecError(f"id {number} is of codebook {layer}, in the semantic part")
        codes = list(self._layout.from_first(code))
        if self._layout.num_codebooks == 1:
            return torch.tensor([codes])
        self._semantic += codes
        return None
