"""What is trained and measured on: clips of a corpus of tokens, cut into pieces."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codec.corpora.exports.rows import Row, open_corpus, shard_rows, vocab_sizes
from codec.corpora.plan import Facts
from codec.corpora.remote import folder_at
from codec.errors import CodecError
from codec.lm.config import LmConfig
from codec.lm.phones import reads
from codec.tokens.layouts import AudioVocab


@dataclass(frozen=True)
class Piece:
    """A clip, or a part of one.

    Attributes:
        codes: ``(K, T)`` int64.
        text: what the whole clip says.
        last: whether the clip ends here.
    """

    clip: str
    speaker: str
    codes: Tensor
    text: str | None
    last: bool


@dataclass(frozen=True)
class Pieces:
    """A corpus as a language model sees it.

    Attributes:
        left_out: clips that are too long, or have no text where text is needed.
    """

    vocab: AudioVocab
    train: list[Piece]
    test: list[Piece]
    left_out: int


def read_pieces(config: LmConfig) -> Pieces:
    """The pieces of a config's corpora.

    Raises:
        CodecError: for a corpus that is not finished or of another codec, or too few clips.
    """
    plan = open_corpus(folder_at(config.corpus))
    vocab = _vocab(plan.facts, vocab_sizes(plan, config.codebooks))
    rows = [row for row in _rows(config.corpus, vocab.num_codebooks) if (row.speaker or "").startswith(config.speakers)]
    train, test = _split(rows, config.held_out)
    if config.test_corpus is not None:
        other = open_corpus(folder_at(config.test_corpus))
        vocab.check_fingerprint(other.facts.fingerprint)
        train, test = rows, list(_rows(config.test_corpus, vocab.num_codebooks))
    test = sorted(test, key=lambda row: _draw(row.id))[: config.max_test_clips]
    if not train or not test:
        raise CodecError(
            f"{config.corpus}: {len(rows)} clips with tokens are too few to train on some and measure on others; "
            "tokenize more recordings"
        )
    used = [[row for row in part if _fits(row, config)] for part in (train, test)]
    if config.task == "tts" and not all(used):
        raise CodecError(_no_text(config, train if not used[0] else test))
    cut = [[piece for row in part for piece in _cut(row, vocab, config.max_frames)] for part in used]
    if not all(cut):
        raise CodecError(f"{config.corpus}: no clip has a frame; tokenize longer recordings")
    return Pieces(vocab, cut[0], cut[1], len(train) + len(test) - sum(map(len, used)))


def _rows(corpus: str, num_codebooks: int) -> Iterator[Row]:
    plan = open_corpus(folder_at(corpus))
    for shard in range(len(plan.shards)):
        yield from shard_rows(folder_at(corpus), plan, shard, num_codebooks)


def _vocab(facts: Facts, sizes: Sequence[int]) -> AudioVocab:
    return AudioVocab(facts.fingerprint, facts.sample_rate, facts.hop_length, tuple(sizes))


def _split(rows: Sequence[Row], share: float) -> tuple[list[Row], list[Row]]:
    """Clips to train and to measure on: those of the lowest draws, one at least."""
    ordered = sorted(rows, key=lambda row: _draw(row.id))
    count = max(1, round(share * len(ordered)))
    held = {row.id for row in ordered[:count]}
    return [row for row in rows if row.id not in held], ordered[:count]


def _draw(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _fits(row: Row, config: LmConfig) -> bool:
    if config.task == "continuation":
        return True
    if config.spelling == "phones" and not reads(row.text):
        return False
    return bool(row.text and row.text.strip()) and row.codes.shape[1] <= config.max_frames


def _no_text(config: LmConfig, rows: Sequence[Row]) -> str:
    if any(row.text for row in rows):
        return f"{config.corpus}: all clips with text are longer than {config.max_frames} frames; raise max_frames"
    return f"{config.corpus}: no clip has text, which tts needs; tokenize a source with text, or train a continuation"


def _cut(row: Row, vocab: AudioVocab, max_frames: int) -> Iterator[Piece]:
    """Pieces of a clip; its codes are checked."""
    try:
        codes = vocab.read_codes(row.codes.astype(np.int64))
    except CodecError as error:
        raise CodecError(f"clip {row.id}: {error}") from None
    parts = torch.split(codes, max_frames, dim=1) if codes.shape[1] else ()
    for number, part in enumerate(parts):
        yield Piece(row.id, row.speaker or f"unknown:{row.id}", part, row.text, number == len(parts) - 1)
