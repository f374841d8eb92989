"""Text to speech in two stages (VALL-E, USLM): codebook 1 id by id, then the others for many frames at once."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from codec.errors import CodecError
from codec.lm.base import (
    IGNORED,
    Batch,
    Request,
    SpeechLm,
    build_llama,
    code_bits,
    load_weights,
    mask_of,
    pad_rows,
    save_weights,
)
from codec.lm.characters import Characters
from codec.lm.config import SizeConfig
from codec.lm.nar import NarModule, in_windows
from codec.lm.pieces import Piece
from codec.lm.sequence import write_flat
from codec.tokens.layouts import AudioVocab, Flat, SemanticFirst


class TtsModule(nn.Module):
    """Both stages, which share no weights; their losses are added up."""

    def __init__(self, size: SizeConfig, characters: int, semantic: Flat, widths: Sequence[int]):
        super().__init__()
        self.ar = build_llama(size, semantic.size + characters)
        self.nar = NarModule(size, characters, widths) if len(widths) > 1 else None

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, text: Tensor, text_mask: Tensor,
        codes: Tensor, lengths: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """See :meth:`TtsLm.collate` for what these are."""
        loss = self.ar(input_ids=input_ids, attention_mask=attention_mask, labels=labels).loss
        if self.nar is not None:
            loss = loss + self.nar(text, text_mask, codes, lengths)
        return {"loss": loss}


class TtsLm(SpeechLm):
    """A model that reads text out.

    The first stage reads the characters, whose ids follow those of the layout ``flat`` of codebook 1.
    """

    kind = "tts"
    layout: SemanticFirst
    characters: Characters

    def __init__(self, size: SizeConfig, layout: SemanticFirst, characters: Characters):
        vocab = layout.vocab
        first = AudioVocab(vocab.fingerprint, vocab.sample_rate, vocab.hop_length, vocab.codebook_sizes[:1])
        self.layout, self.characters, self.semantic = layout, characters, Flat(first, markers=True)
        self.module = TtsModule(size, len(characters), self.semantic, vocab.codebook_sizes)

    def save(self, folder: Path) -> None:
        """See :class:`SpeechLm`."""
        save_weights(self.module, folder)

    def load(self, folder: Path) -> "TtsLm":
        """The weights that :meth:`save` wrote."""
        load_weights(self.module, folder)
        return self

    def collate(self, pieces: Sequence[Piece]) -> Batch:
        """Of the first stage ``input_ids``, ``attention_mask`` and ``labels (B, N)``; of the second ``text`` and
        ``text_mask (B, L)``, ``codes (B, K, T)`` and ``lengths (B,)``.
        """
        # Held-out texts may have characters of their own.
        texts = [self.characters.encode_known(piece.text or "") for piece in pieces]
        spoken = [self.semantic.encode(piece.codes[:1]) for piece in pieces]
        ids = [torch.cat([text + self.semantic.size, own]) for text, own in zip(texts, spoken, strict=True)]
        labels = [torch.cat([torch.full_like(t, IGNORED), own]) for t, own in zip(texts, spoken, strict=True)]
        return {
            "input_ids": pad_rows(ids, self.semantic.ids.specials["pad"]),
            "attention_mask": mask_of([len(row) for row in ids]),
            "labels": pad_rows(labels, IGNORED),
            "text": pad_rows(texts, 0),
            "text_mask": mask_of([len(text) for text in texts]),
            "codes": pad_rows([piece.codes.t() for piece in pieces], 0).transpose(1, 2),
            "lengths": torch.tensor([piece.codes.shape[1] for piece in pieces]),
        }

    @torch.inference_mode()
    def bits(self, pieces: Sequence[Piece]) -> Tensor:
        """See :class:`SpeechLm`; given the text, and of codebook q given the whole codebooks before."""
        device = next(self.module.parameters()).device
        batch = {name: tensor.to(device) for name, tensor in self.collate(pieces).items()}
        logits = self.module.ar(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.cpu()
        rows = []
        for row, start, piece in zip(logits, batch["text_mask"].sum(1).tolist(), pieces, strict=True):
            # The logits of the marker `start`, which follows the text, are those of the first code.
            of_codes = row[start : start + piece.codes.shape[1], : self.layout.widths[0]]
            rows.append(code_bits(of_codes, piece.codes[0]))
        columns = [torch.stack(rows)]
        if self.module.nar is not None:
            columns += self.module.nar.bits(batch["text"], batch["text_mask"], batch["codes"], pieces)
        return torch.stack(columns, dim=1)

    def frames(self, request: Request) -> Iterator[Tensor]:
        """See :class:`SpeechLm`: the second stage fills ``window`` frames at a time, all at once with 0."""
        if request.text is None:
            raise CodecError("this model reads text out; give --text")
        texts = [text for text in (request.prompt_text, request.text) if text is not None]
        text = self.characters.encode(" ".join(texts))
        yield from in_windows(
            map(int, self._semantic(text, request)), request.prompt, request.window, partial(self._fill, text)
        )

    def _fill(self, text: Tensor, codes: Tensor, waiting: int) -> Tensor:
        if self.module.nar is None:
            return codes
        device = next(self.module.parameters()).device
        return self.module.nar.fill(text.to(device), codes.to(device), codes.shape[1] - waiting).cpu()

    def _semantic(self, text: Tensor, request: Request) -> Iterator[Tensor]:
        """New codes ``(1, 1)`` of codebook 1; the prompt leads only where its text is there too."""
        prompt = request.prompt[:1] if request.prompt_text is not None else request.prompt[:1, :0]
        words = (text + self.semantic.size).tolist()
        return write_flat(self.module.ar, self.semantic, words, prompt, request)
