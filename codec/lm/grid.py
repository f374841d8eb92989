"""K ids a step: the layout ``delay``, on a Llama that adds up K embeddings and has K heads (MusicGen)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.lm.base import (
    IGNORED,
    Batch,
    CausalSteps,
    Request,
    SpeechLm,
    build_llama,
    check_no_text,
    code_bits,
    draw,
    load_weights,
    mask_of,
    pad_rows,
    save_weights,
)
from codec.lm.config import SizeConfig
from codec.lm.pieces import Piece
from codec.tokens.layouts import SPECIALS, AudioVocab, Delay, Layout

_LEAD = 1
"""Steps of ``start`` before all else, from which the first codes are predicted."""


class GridModule(nn.Module):
    """Steps ``(B, N, K)`` of ids to the logits of the next step, one head for each codebook."""

    def __init__(self, size: SizeConfig, layout: Delay):
        super().__init__()
        self.llama = build_llama(size, layout.size)
        self._offsets, self._widths = layout.ids.offsets, layout.widths

    def hidden(self, steps: Tensor, **inputs: Any) -> Any:
        """The output of the layers, for the sum of each step's embeddings."""
        return self.llama.model(inputs_embeds=self.llama.get_input_embeddings()(steps).sum(2), **inputs)

    def heads(self, hidden: Tensor) -> list[Tensor]:
        """``(..., V_q + specials)`` of each codebook: its codes, then the special ids."""
        logits = self.llama.lm_head(hidden)
        specials = logits[..., self._offsets[-1] :]
        parts = [logits[..., o : o + w] for o, w in zip(self._offsets, self._widths, strict=False)]
        return [torch.cat([part, specials], dim=-1) for part in parts]

    def local(self, steps: Tensor) -> Tensor:
        """Ids ``(..., K)`` as indices into :meth:`heads`."""
        offsets = torch.tensor(self._offsets[:-1], device=steps.device)
        widths = torch.tensor(self._widths, device=steps.device)
        return torch.where(steps >= self._offsets[-1], steps - self._offsets[-1] + widths, steps - offsets)

    def forward(self, steps: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Mean loss over codebooks and steps; what stands before a codebook's first code is not learned."""
        hidden = self.hidden(steps[:, :-1], attention_mask=attention_mask[:, :-1]).last_hidden_state
        given = steps[:, 1:] == self._offsets[-1] + SPECIALS.index("start")
        unknown = given | (attention_mask[:, 1:, None] == 0)
        targets = self.local(steps[:, 1:]).masked_fill(unknown, IGNORED)
        losses = [
            F.cross_entropy(logits.flatten(0, 1), targets[..., q].flatten(), ignore_index=IGNORED)
            for q, logits in enumerate(self.heads(hidden))
        ]
        return {"loss": torch.stack(losses).mean()}


class GridLm(SpeechLm):
    """Speech that goes on, K codes a step."""

    kind = "grid"
    layout: Delay

    def __init__(self, module: GridModule, layout: Delay):
        self.module, self.layout = module, layout

    @classmethod
    def build(cls, size: SizeConfig, layout: Layout) -> "GridLm":
        """A model of random weights."""
        assert isinstance(layout, Delay)
        return cls(GridModule(size, layout), layout)

    @staticmethod
    def layout_of(vocab: AudioVocab) -> Delay:
        """The layout that such a model is built for."""
        return Delay(vocab, lead=_LEAD)

    def save(self, folder: Path) -> None:
        """See :class:`SpeechLm`."""
        save_weights(self.module, folder)

    def load(self, folder: Path) -> "GridLm":
        """The weights that :meth:`save` wrote."""
        load_weights(self.module, folder)
        return self

    def collate(self, pieces: Sequence[Piece]) -> Batch:
        """``steps (B, N, K)`` and ``attention_mask (B, N)``."""
        rows = [self._steps(piece) for piece in pieces]
        pad = self.layout.ids.specials["pad"]
        return {"steps": pad_rows(rows, pad), "attention_mask": mask_of([len(row) for row in rows])}

    def _steps(self, piece: Piece) -> Tensor:
        """All steps and one of ``end``; of a piece inside a clip, those before the first codebook ends."""
        steps = self.layout.encode(piece.codes)
        if not piece.last:
            return steps[: _LEAD + piece.codes.shape[1]]
        return F.pad(steps, (0, 0, 0, 1), value=self.layout.ids.specials["end"])

    @torch.inference_mode()
    def bits(self, pieces: Sequence[Piece]) -> Tensor:
        """See :class:`SpeechLm`."""
        rows = [self.layout.encode(piece.codes) for piece in pieces]
        device = next(self.module.parameters()).device
        mask = mask_of([len(row) for row in rows]).to(device)
        hidden = self.module.hidden(pad_rows(rows, self.layout.ids.specials["pad"]).to(device), attention_mask=mask)
        heads, found = [logits.cpu() for logits in self.module.heads(hidden.last_hidden_state)], []
        for row, piece in enumerate(pieces):
            # Logits of a step are those of the next one.
            firsts = [_LEAD + lag - 1 for lag in self.layout.lags]
            logits = [
                head[row, first : first + piece.codes.shape[1], :width]
                for head, first, width in zip(heads, firsts, self.layout.widths, strict=True)
            ]
            found.append(torch.stack([code_bits(*pair) for pair in zip(logits, piece.codes, strict=True)]))
        return torch.stack(found)

    def frames(self, request: Request) -> Iterator[Tensor]:
        """See :class:`SpeechLm`."""
        check_no_text(request, "this model")
        writer = _Writer(self, request)
        device = next(self.module.parameters()).device
        stream, steps, decoded = self.layout.decoder(), CausalSteps(self.module.hidden), 0
        heads: list[Tensor] = []
        for number in range(_LEAD + writer.longest + max(self.layout.lags)):
            step = [writer.id(number, q, heads) for q in range(self.layout.num_codebooks)]
            frame = stream.decode_stream(step)
            decoded += frame is not None
            if frame is not None and decoded > writer.known:
                yield frame
            if decoded >= writer.codes:
                return
            output = steps(steps=torch.tensor([[step]], device=device))
            heads = [head[0, -1] for head in self.module.heads(output.last_hidden_state)]


class _Writer:
    """The ids of each step: those of the prompt, then drawn ones, then ``end``.

    Attributes:
        known: frames of the prompt.
        longest: frames at most.
        codes: frames that there will be, as far as is known.
    """

    def __init__(self, lm: GridLm, request: Request):
        self._layout, self._sampling = lm.layout, request.sampling
        self._given = lm.layout.encode(request.prompt)
        self._generator = torch.Generator().manual_seed(request.seed)
        self.known = request.prompt.shape[1]
        self.longest = self.codes = self.known + request.max_frames

    def id(self, number: int, layer: int, heads: Sequence[Tensor]) -> int:
        """The id of one codebook in step ``number``."""
        frame = number - _LEAD - self._layout.lags[layer]
        if frame < self.known:
            return int(self._given[number, layer])
        end = self._layout.ids.specials["end"]
        if frame >= self.codes:
            return end
        width = self._layout.widths[layer]
        # The first codebook decides where speech ends.
        choices = [*range(width), *([width + SPECIALS.index("end")] if layer == 0 else [])]
        drawn = choices[draw(heads[layer][choices], self._sampling, self._generator)]
        if drawn < width:
            return self._layout.ids.base + self._layout.ids.offsets[layer] + drawn
        self.codes = frame
        return end
