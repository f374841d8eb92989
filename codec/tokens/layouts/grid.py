"""K ids a step, one for each codebook: side by side, or each codebook later than the one before."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.tokens.layouts.base import Layout, check_layers, layout
from codec.tokens.layouts.vocabulary import SPECIALS, IdRange, read_id, read_ids


@dataclass(frozen=True)
class GridLayout(Layout):
    """Ids ``(steps, K)``; code c of codebook q and frame t is in step ``lead + t + delay_q``."""

    shared: bool = True
    """One table of embeddings for all codebooks, ``id = base + offsets[q] + c`` (CSM). False: a table for each,
    ``id = c``, and the special ids from V on (MusicGen, Moshi)."""

    @property
    def lags(self) -> tuple[int, ...]:
        """Steps by which each codebook is late."""
        return (0,) * self.num_codebooks

    @property
    def fills(self) -> tuple[str, str]:
        """Specials before a codebook's first code and after its last."""
        return "start", "end"

    @property
    def around(self) -> tuple[int, int]:
        """Steps of specials alone, before and after all else."""
        return 0, 0

    @property
    def wait(self) -> int:
        """Steps between a frame's number and the step that completes it."""
        return self.around[0] + max(self.lags)

    def table(self, layer: int) -> IdRange:
        """The ids of a codebook, where each has a table of its own."""
        return IdRange(0, (self.widths[layer],))

    def special(self, name: str, layer: int) -> int:
        """Id of a special token in a codebook's stream."""
        return (self.ids if self.shared else self.table(layer)).specials[name]

    @property
    def size(self) -> int:
        """Ids that the layout adds to a vocabulary; with tables of their own, those of the largest."""
        return self.ids.size if self.shared else max(self.widths) + len(SPECIALS)

    def grid(self, codes: Tensor) -> Tensor:
        """Codes ``(K, T)`` to ids ``(T + sum of what surrounds them, K)``."""
        frames, (lead, trail) = codes.shape[1], self.around
        steps = frames + lead + trail + max(self.lags)
        columns = []
        for layer, (row, lag) in enumerate(zip(codes, self.lags, strict=True)):
            before, after = (self.special(name, layer) for name in self.fills)
            first = lead + lag
            column = torch.full((steps,), after)
            column[:first] = before
            column[first : first + frames] = row + (self.ids.base + self.ids.offsets[layer] if self.shared else 0)
            columns.append(column)
        return torch.stack(columns, dim=1)

    def decode(self, ids: Any) -> Tensor:
        """See :meth:`Layout.decode`."""
        grid, decoder = self.read_grid(ids), self.decoder()
        frames = [frame for step in grid.tolist() if (frame := decoder.decode_stream(step)) is not None]
        return torch.cat(frames, dim=1) if frames else torch.zeros(self.num_codebooks, 0, dtype=torch.int64)

    def read_grid(self, ids: Any) -> Tensor:
        """Ids as ``(steps, K)``."""
        if hasattr(ids, "__len__") and len(ids) == 0:
            return torch.zeros(0, self.num_codebooks, dtype=torch.int64)
        grid = read_ids(ids, 2)
        if grid.shape[1] != self.num_codebooks:
            raise CodecError(f"ids must be (steps, {self.num_codebooks}), got shape {tuple(grid.shape)}")
        return grid

    def decoder(self) -> "GridDecoder":
        """See :meth:`Layout.decoder`."""
        return GridDecoder(self)


class GridDecoder:
    """Keeps as many steps as the latest codebook lags."""

    def __init__(self, layout: GridLayout):
        self._layout = layout
        self._specials = [
            {layout.special(name, layer): name for name in SPECIALS} for layer in range(layout.num_codebooks)
        ]
        self._lags, self._lead, self._wait = layout.lags, layout.around[0], layout.wait
        self._before = [layout.special(layout.fills[0], layer) for layer in range(layout.num_codebooks)]
        self._steps: deque[list[int]] = deque(maxlen=max(layout.lags) + 1)
        self._count = 0
        self._ended = False

    def decode_stream(self, step: Any, /) -> Tensor | None:
        """See :class:`codec.tokens.layouts.base.StreamDecoder`."""
        ids = [read_id(number) for number in step] if hasattr(step, "__iter__") else [read_id(step)]
        if len(ids) != len(self._lags):
            raise CodecError(f"a step of {len(ids)} ids; expected {len(self._lags)}, one for each codebook")
        self._check_before(ids)
        self._steps.append(ids)
        self._count += 1
        if self._count <= self._wait or self._ended:
            return None
        late = max(self._lags)
        return self._frame([self._steps[lag - late - 1][q] for q, lag in enumerate(self._lags)])

    def _check_before(self, ids: list[int]) -> None:
        for q, (number, lag) in enumerate(zip(ids, self._lags, strict=True)):
            if self._count < self._lead + lag and number != self._before[q]:
                raise CodecError(
                    f"step {self._count}: id {number} of codebook {q}, whose codes begin in step "
                    f"{self._lead + lag}; expected {self._before[q]} before"
                )

    def _frame(self, ids: list[int]) -> Tensor | None:
        if any(number in names for number, names in zip(ids, self._specials, strict=True)):
            self._ended = True
            return None
        return torch.tensor([[self._code(q, number)] for q, number in enumerate(ids)])

    def _code(self, q: int, number: int) -> int:
        if not self._layout.shared:
            return self._layout.table(q).locate(number)[1]
        layer, code = self._layout.ids.locate(number)
        if layer != q:
            raise CodecError(f"id {number} is of codebook {layer}, in the stream of codebook {q}")
        return code


@layout("parallel")
@dataclass(frozen=True)
class Parallel(GridLayout):
    """A step for each frame: ``ids[t, q]``, as CSM, Qwen3-TTS and depth transformers read them."""

    markers: bool = False
    """A step of the special ``start`` before, and one of ``end`` after."""

    @property
    def around(self) -> tuple[int, int]:
        """See :class:`GridLayout`."""
        return (1, 1) if self.markers else (0, 0)

    def encode(self, codes: Any) -> Tensor:
        """``(T, K)`` ids, and 2 steps of markers where the layout has them."""
        return self.grid(self.vocab.read_codes(codes))


@layout("delay")
@dataclass(frozen=True)
class Delay(GridLayout):
    """Each codebook later than the one before: ``ids[lead + t + delays[q], q]``.

    With ``shared=False`` these are the patterns of MusicGen (``lead=1, after="start"``), Higgs Audio (the
    defaults), Dia (``delays=[0, 8, 9, ...], after="pad"``) and Moshi (``truncate=True``).
    """

    delays: tuple[int, ...] | None = None
    """Steps by which each codebook is late; by default 0, 1, 2..."""
    truncate: bool = False
    """As many steps as frames: the last ``max(delays) + lead`` frames are lost, and :meth:`tail` has them."""
    lead: int = 0
    """Steps of specials before all else."""
    before: str = "start"
    """Special token before a codebook's first code."""
    after: str = "end"
    """Special token after a codebook's last code."""

    def __post_init__(self) -> None:
        check_layers(self.lags, self.num_codebooks, "delays")
        if self.lead < 0:
            raise CodecError(f"lead must be 0 or more, got {self.lead}")
        if strange := {self.before, self.after} - set(SPECIALS):
            raise CodecError(f"{', '.join(sorted(strange))}: no special token; choose {', '.join(SPECIALS)}")

    @property
    def lags(self) -> tuple[int, ...]:
        """See :class:`GridLayout`."""
        return tuple(range(self.num_codebooks)) if self.delays is None else self.delays

    @property
    def fills(self) -> tuple[str, str]:
        """See :class:`GridLayout`."""
        return self.before, self.after

    @property
    def around(self) -> tuple[int, int]:
        """See :class:`GridLayout`."""
        return self.lead, 0

    @property
    def lost_frames(self) -> int:
        """Frames at the end that ``encode`` leaves out: 0 unless it truncates."""
        return self.wait if self.truncate else 0

    def encode(self, codes: Any) -> Tensor:
        """``(T + lead + max(delays), K)`` ids, or ``(T, K)`` where they are truncated."""
        codes = self.vocab.read_codes(codes)
        grid = self.grid(codes)
        return grid[: codes.shape[1]] if self.truncate else grid

    def tail(self, codes: Any) -> Tensor:
        """``(lost_frames, K)``: the steps that truncation cut; joined to the others they decode to all codes."""
        codes = self.vocab.read_codes(codes)
        return self.grid(codes)[codes.shape[1] :] if self.truncate else self.grid(codes)[:0]
