"""Text to speech in two stages that follow the text symbol by symbol.

As in ELLA-V (Song et al. 2024) and VALL-E R (Han et al. 2024), the first stage knows its place in the text.
The first stage draws either a code of codebook 1 or "next", which moves it on in the text; it sees the symbols
around its place. Nothing is skipped or said twice, and little speech is enough to learn from. When symbols are
spoken is learned from the tokens (:mod:`codec.lm.alignment`).
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from codec.atomic import atomic_path
from codec.errors import CodecError
from codec.lm.alignment import Aligner, even
from codec.lm.base import (
    IGNORED,
    Batch,
    CausalSteps,
    Request,
    SpeechLm,
    build_llama,
    draw,
    load_weights,
    mask_of,
    pad_rows,
    read_tensors,
    save_weights,
)
from codec.lm.characters import Characters
from codec.lm.config import SizeConfig
from codec.lm.nar import NarModule, in_windows
from codec.lm.phones import Phones
from codec.lm.pieces import Piece
from codec.tokens.layouts import SemanticFirst

_AROUND = (-1, 0, 1, 2, 3)
"""Symbols that the first stage sees, from its place on."""
_LONGEST = 75
"""Frames after which it has to move on."""
_ALIGNER = "aligner.safetensors"


class AlignedModule(nn.Module):
    """Both stages, which share no weights; their losses are added up.

    Ids of the first stage are the codes, then "next", then "start". Symbol ``symbols`` stands for none.
    """

    def __init__(self, size: SizeConfig, symbols: int, widths: Sequence[int]):
        super().__init__()
        self.ar = build_llama(size, widths[0] + 2)
        tables = [nn.Embedding(symbols + 1, size.dim) for _ in _AROUND]
        for table in tables:
            nn.init.normal_(table.weight, std=0.02)
        self.around = nn.ModuleList(tables)
        self.nar = NarModule(size, symbols + 1, widths, aligned=True) if len(widths) > 1 else None

    def first(self, ids: Tensor, symbols: Tensor, **inputs: Any) -> Any:
        """Output of the first stage with ``logits (B, N, V + 2)``.

        Args:
            ids: ``(B, N)``, what was drawn before each step.
            symbols: ``(B, N, len(_AROUND))`` around the place of each step.
        """
        seen = sum(table(symbols[..., i]) for i, table in enumerate(self.around))
        return self.ar(inputs_embeds=self.ar.get_input_embeddings()(ids) + seen, **inputs)

    def forward(
        self, ids: Tensor, symbols: Tensor, attention_mask: Tensor, targets: Tensor, spoken: Tensor, codes: Tensor,
        lengths: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """See :meth:`AlignedLm.collate` for what these are."""
        logits = self.first(ids, symbols, attention_mask=attention_mask).logits
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        if self.nar is not None:
            loss = loss + self.nar(spoken, torch.ones_like(spoken), codes, lengths)
        return {"loss": loss}


class AlignedLm(SpeechLm):
    """A model that reads text out, and knows its place in it.

    Attributes:
        aligner: when the symbols of a clip were spoken.
    """

    kind = "aligned"
    layout: SemanticFirst
    characters: Characters | Phones
    reads_text = True

    def __init__(self, size: SizeConfig, layout: SemanticFirst, symbols: Characters | Phones, aligner: Aligner):
        self.layout, self.characters, self.aligner = layout, symbols, aligner
        self.module = AlignedModule(size, len(symbols), layout.widths)
        self.next, self.start = layout.widths[0], layout.widths[0] + 1
        self._found: dict[tuple[str | None, bytes], Tensor] = {}

    @classmethod
    def build(
        cls,
        size: SizeConfig,
        layout: SemanticFirst,
        symbols: Characters | Phones,
        pieces: Sequence[Piece],
        folder: Path,
        resume: bool = False,
    ) -> "AlignedLm":
        """Random weights, and an aligner that is trained on the pieces; it is kept in ``folder`` for a resumed run."""
        path = folder / _ALIGNER
        # That of a run that was killed before its first checkpoint may be of another corpus.
        if resume and path.is_file():
            return cls(size, layout, symbols, _read_aligner(path, symbols))
        texts = [symbols.encode(piece.text or "") for piece in pieces]
        codes = [piece.codes[0] for piece in pieces]
        aligner = Aligner.train(texts, codes, layout.widths[0], symbols.optional())
        folder.mkdir(parents=True, exist_ok=True)
        _write_aligner(aligner, path)
        return cls(size, layout, symbols, aligner)

    def save(self, folder: Path) -> None:
        """See :class:`SpeechLm`."""
        save_weights(self.module, folder)
        _write_aligner(self.aligner, folder / _ALIGNER)

    @classmethod
    def load(cls, folder: Path, size: SizeConfig, layout: SemanticFirst, symbols: Characters | Phones) -> "AlignedLm":
        """What :meth:`save` wrote.

        Raises:
            CodecError: when files are missing or do not fit.
        """
        lm = cls(size, layout, symbols, _read_aligner(folder / _ALIGNER, symbols))
        load_weights(lm.module, folder)
        return lm

    def durations(self, text: Tensor, codes: Tensor) -> Tensor:
        """``(L,)``: frames of each symbol, given the codes ``(T,)`` of codebook 1."""
        (frames,) = self.aligner.durations([text], [codes])
        return frames if int(frames.sum()) == len(codes) else even(len(text), len(codes))

    def _of(self, piece: Piece) -> tuple[Tensor, Tensor]:
        """Symbols of a piece and their frames."""
        text = self.characters.encode_known(piece.text or "")
        # Clips of two corpora may have one name.
        known = (piece.text, piece.codes[0].numpy().tobytes())
        if known not in self._found:
            self._found[known] = self.durations(text, piece.codes[0])
        return text, self._found[known]

    def steps(self, text: Tensor, frames: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """What the first stage draws ``(N,)``, N = T + L, and the symbols ``(N, len(_AROUND))`` that it sees.

        Args:
            text: ``(L,)`` symbols.
            frames: ``(L,)`` frames of each.
            codes: ``(T,)`` of codebook 1.
        """
        drawn = torch.full((len(codes) + len(text),), self.next)
        owner = torch.arange(len(text)).repeat_interleave(frames)
        drawn[torch.arange(len(codes)) + owner] = codes
        places = (drawn == self.next).long().cumsum(0) - (drawn == self.next).long()
        return drawn, self.look(text, places)

    def look(self, text: Tensor, places: Tensor) -> Tensor:
        """``(N, len(_AROUND))``: the symbols around places ``(N,)`` of a text."""
        none = len(self.characters)
        padded = F.pad(text, (-_AROUND[0], _AROUND[-1]), value=none)
        return torch.stack([padded[places + offset - _AROUND[0]] for offset in _AROUND], dim=1)

    def collate(self, pieces: Sequence[Piece]) -> Batch:
        """Of the first stage ``ids``, ``attention_mask`` and ``targets (B, N)`` and ``symbols (B, N, around)``; of the
        second ``spoken (B, T)``, ``codes (B, K, T)`` and ``lengths (B,)``.
        """
        aligned = [self._of(piece) for piece in pieces]
        rows = [self.steps(*found, piece.codes[0]) for found, piece in zip(aligned, pieces, strict=True)]
        drawn = [row for row, _ in rows]
        return {
            "ids": pad_rows([F.pad(row[:-1], (1, 0), value=self.start) for row in drawn], self.next),
            "symbols": pad_rows([seen for _, seen in rows], len(self.characters)),
            "attention_mask": mask_of([len(row) for row in drawn]),
            "targets": pad_rows(drawn, IGNORED),
            "spoken": pad_rows([text.repeat_interleave(frames) for text, frames in aligned], len(self.characters)),
            "codes": pad_rows([piece.codes.t() for piece in pieces], 0).transpose(1, 2),
            "lengths": torch.tensor([piece.codes.shape[1] for piece in pieces]),
        }

    @torch.inference_mode()
    def bits(self, pieces: Sequence[Piece]) -> Tensor:
        """See :class:`SpeechLm`; given the text, and of codebook q given the whole codebooks before.

        Codebook 1 pays for each "next" too: its bits are those of one path, which bounds them from above.
        """
        device = next(self.module.parameters()).device
        batch = {name: tensor.to(device) for name, tensor in self.collate(pieces).items()}
        logits = self.module.first(batch["ids"], batch["symbols"], attention_mask=batch["attention_mask"]).logits
        targets = batch["targets"].cpu()
        nats = F.cross_entropy(logits.cpu().double().transpose(1, 2), targets, ignore_index=IGNORED, reduction="none")
        columns = [nats.sum(1) / math.log(2)]
        if self.module.nar is not None:
            columns += self.module.nar.bits(batch["spoken"], torch.ones_like(batch["spoken"]), batch["codes"], pieces)
        return torch.stack(columns, dim=1)

    def frames(self, request: Request) -> Iterator[Tensor]:
        """See :class:`SpeechLm`: the second stage fills ``window`` frames at a time, all at once with 0."""
        if request.text is None:
            raise CodecError("this model reads text out; give --text")
        # No symbol is known of the prompt's frames.
        spoken = [len(self.characters)] * request.prompt.shape[1]

        def drawn() -> Iterator[int]:
            for code, symbol in self._semantic(request):
                spoken.append(symbol)
                yield code

        def fill(codes: Tensor, waiting: int) -> Tensor:
            return self._fill(torch.tensor(spoken), codes, waiting)

        yield from in_windows(drawn(), request.prompt, request.window, fill)

    def _fill(self, spoken: Tensor, codes: Tensor, waiting: int) -> Tensor:
        if self.module.nar is None:
            return codes
        device = next(self.module.parameters()).device
        return self.module.nar.fill(spoken.to(device), codes.to(device), codes.shape[1] - waiting).cpu()

    def _semantic(self, request: Request) -> Iterator[tuple[int, int]]:
        """New codes of codebook 1 and the symbol that each speaks; the prompt leads only where its text is there."""
        text, given = self._given(request)
        optional = self.characters.optional()[text]
        place, frames, drawn = int((given == self.next).sum()), 0, 0
        ahead = F.pad(given, (1, 0), value=self.start)
        places = F.pad((given == self.next).long().cumsum(0), (1, 0))
        steps, generator = CausalSteps(self.module.first), torch.Generator().manual_seed(request.seed)
        device = next(self.module.parameters()).device
        while place < len(text) and drawn < request.max_frames:
            inputs = {"ids": ahead[None].to(device), "symbols": self.look(text, places)[None].to(device)}
            logits = steps(**inputs).logits[0, -1]
            number = self.next
            if frames < _LONGEST:
                # What has to be heard takes one frame at least.
                number = draw(logits[: self.next + int(frames > 0 or optional[place])], request.sampling, generator)
            if number == self.next:
                place, frames = place + 1, 0
            else:
                frames, drawn = frames + 1, drawn + 1
                yield number, int(text[place])
            ahead, places = torch.tensor([number]), torch.tensor([min(place, len(text) - 1)])

    def _given(self, request: Request) -> tuple[Tensor, Tensor]:
        """All symbols, and what the first stage draws for those of the prompt."""
        assert request.text is not None
        text = self.characters.encode(request.text)
        if request.prompt_text is None or not request.prompt.shape[1]:
            return text, torch.zeros(0, dtype=torch.int64)
        before = self.characters.encode(request.prompt_text)
        drawn, _ = self.steps(before, self.durations(before, request.prompt[0]), request.prompt[0])
        optional = self.characters.optional()
        # One pause between the two texts.
        doubled = len(text) > 1 and bool(optional[before[-1]] and optional[text[0]])
        return torch.cat([before, text[int(doubled) :]]), drawn


def _write_aligner(aligner: Aligner, path: Path) -> None:
    with atomic_path(path) as temporary:
        save_file({"costs": aligner.costs.contiguous()}, temporary)


def _read_aligner(path: Path, symbols: Characters | Phones) -> Aligner:
    tensors = read_tensors(path)
    if "costs" not in tensors or len(tensors["costs"]) != len(symbols):
        raise CodecError(f"{path}: is of other symbols than the model; train it again")
    return Aligner(tensors["costs"], symbols.optional())
