"""One sequence of ids: the layout ``flat``, on a new Llama or on an existing model that reads text."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.errors import CodecError
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
    mask_of,
    pad_rows,
)
from codec.lm.config import SizeConfig
from codec.lm.pieces import Piece
from codec.tokens.layouts import AudioVocab, Flat


class SequenceLm(SpeechLm):
    """A causal model over the ids of ``flat``, after those of the text where it has a tokenizer.

    Attributes:
        tokenizer: of transformers; ``None`` for a model of speech alone.
        reads_text: whether the text of a clip comes before its codes.
    """

    kind = "sequence"
    layout: Flat

    def __init__(self, module: Any, layout: Flat, tokenizer: Any = None, reads_text: bool = False):
        self.module, self.layout = module, layout
        self.tokenizer, self.reads_text = tokenizer, reads_text

    @classmethod
    def build(cls, size: SizeConfig, vocab: AudioVocab) -> "SequenceLm":
        """A model of random weights."""
        layout = Flat(vocab, markers=True)
        return cls(build_llama(size, layout.size), layout)

    @classmethod
    def load(cls, folder: Path, layout: Flat, reads_text: bool) -> "SequenceLm":
        """What :meth:`save` wrote."""
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        tokenizer = None
        if (folder / "tokenizer_config.json").is_file():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        module = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        return cls(module, layout, tokenizer, reads_text)

    def save(self, folder: Path) -> None:
        """See :class:`SpeechLm`."""
        self.module.save_pretrained(folder)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)

    def collate(self, pieces: Sequence[Piece]) -> Batch:
        """``input_ids``, ``attention_mask`` and ``labels``, ``(B, N)`` each."""
        rows = [self._ids(piece) for piece in pieces]
        labels = [row.clone() for _, row in rows]
        for (prefix, _), row in zip(rows, labels, strict=True):
            row[:prefix] = IGNORED
        return {
            "input_ids": pad_rows([row for _, row in rows], self.layout.ids.specials["pad"]),
            "attention_mask": mask_of([len(row) for _, row in rows]),
            "labels": pad_rows(labels, IGNORED),
        }

    def _ids(self, piece: Piece) -> tuple[int, Tensor]:
        """Length of the text, and all ids; a piece inside a clip has no end."""
        text = self._text_ids(piece.text) if self.reads_text else []
        ids = self.layout.encode(piece.codes)
        return len(text), torch.cat([torch.tensor(text, dtype=torch.int64), ids if piece.last else ids[:-1]])

    def _text_ids(self, text: str | None) -> list[int]:
        return list(self.tokenizer(text).input_ids) if text else []

    @torch.inference_mode()
    def bits(self, pieces: Sequence[Piece]) -> Tensor:
        """See :class:`SpeechLm`."""
        batch = self.collate(pieces)
        device = next(self.module.parameters()).device
        inputs = {name: batch[name].to(device) for name in ("input_ids", "attention_mask")}
        logits, found = self.module(**inputs).logits.cpu(), []
        layers, first = self.layout.num_codebooks, self.layout.ids.base
        for row, piece in zip(logits, pieces, strict=True):
            # The logits of the marker `start` are those of the first code.
            start = len(self._text_ids(piece.text)) if self.reads_text else 0
            of_codes = row[start : start + piece.codes.numel()]
            of_layers = [
                of_codes[q::layers, first + offset : first + offset + width]
                for q, (offset, width) in enumerate(zip(self.layout.ids.offsets, self.layout.widths, strict=False))
            ]
            found.append(torch.stack([code_bits(*pair) for pair in zip(of_layers, piece.codes, strict=True)]))
        return torch.stack(found)

    def frames(self, request: Request) -> Iterator[Tensor]:
        """See :class:`SpeechLm`."""
        yield from write_flat(self.module, self.layout, self._prefix(request), request.prompt, request)

    def _prefix(self, request: Request) -> list[int]:
        if not self.reads_text:
            check_no_text(request, "this model")
            return []
        if not request.text:
            raise CodecError("this model reads text; give --text")
        return self._text_ids(" ".join(part for part in (request.prompt_text, request.text) if part))


def write_flat(module: Any, layout: Flat, words: list[int], prompt: Tensor, request: Request) -> Iterator[Tensor]:
    """New frames ``(K, 1)`` of a causal model, each as soon as its last id is drawn, until it draws ``end``.

    Args:
        words: ids before the speech.
        prompt: ``(K, T)`` codes that the speech begins with.
    """
    spoken = layout.encode(prompt)[:-1].tolist()
    stream, generator = layout.decoder(), torch.Generator().manual_seed(request.seed)
    for number in spoken:
        stream.decode_stream(number)
    steps, ahead = CausalSteps(module), [*words, *spoken]
    device = next(module.parameters()).device
    for _ in range(request.max_frames * layout.num_codebooks):
        logits = steps(input_ids=torch.tensor([ahead], device=device)).logits[0, -1]
        allowed = layout.allowed(spoken)
        number = allowed[draw(logits[allowed], request.sampling, generator)]
        if number == layout.ids.specials["end"]:
            return
        ahead = [number]
        spoken.append(number)
        frame = stream.decode_stream(number)
        if frame is not None:
            yield frame
