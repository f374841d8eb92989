"""Frequent runs of semantic codes as one id each: byte-pair encoding over the first codebook."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from codec.errors import CodecError
from codec.tokens.layouts.base import layout
from codec.tokens.layouts.semantic import SemanticFirst
from codec.tokens.layouts.vocabulary import AudioVocab

# Private-use characters, which no normaliser touches; there is room for 131 072 codes.
_FIRST_CHARACTER = 0xF0000
_MOST_CODES = 0x110000 - _FIRST_CHARACTER


@layout("bpe")
@dataclass(frozen=True)
class Bpe(SemanticFirst):
    """``semantic_first`` whose first part is shorter: an id stands for one code or for a run of them.

    The merges come from :func:`train_bpe` and travel in ``audio_vocab.json``. Encoding needs the package
    tokenizers, decoding does not. The ids of codes are those of ``semantic_first``; those of runs follow.
    """

    merges: tuple[tuple[int, int], ...] = ()
    """Pairs of numbers that are joined, in order of training: below V a code, from V on an earlier pair."""

    def __post_init__(self) -> None:
        size = self.vocab.codebook_sizes[0]
        if size > _MOST_CODES:
            raise CodecError(f"bpe takes a codebook of at most {_MOST_CODES} codes, got {size}")
        for i, pair in enumerate(self.merges):
            if len(pair) != 2 or not all(0 <= number < size + i for number in pair):
                raise CodecError(f"merge {i} joins {list(pair)}; expected two numbers below {size + i}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Ids of each layer."""
        return (self.vocab.codebook_sizes[0] + len(self.merges), *self.vocab.codebook_sizes[1:])

    def to_first(self, codes: list[int]) -> list[int]:
        """Codes of the first codebook to numbers of codes and runs."""
        return list(self._tokenizer.encode(_text(codes)).ids) if codes else []

    def from_first(self, number: int) -> Sequence[int]:
        """The codes that a number stands for."""
        return self._runs[number]

    @cached_property
    def _runs(self) -> list[tuple[int, ...]]:
        runs: list[tuple[int, ...]] = [(code,) for code in range(self.vocab.codebook_sizes[0])]
        for left, right in self.merges:
            runs.append(runs[left] + runs[right])
        return runs

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer, models
        except ImportError:
            raise CodecError("the layout bpe needs the package tokenizers; pip install 'codec[llm]'") from None
        texts = [_text(run) for run in self._runs]
        vocab = {text: number for number, text in enumerate(texts)}
        return Tokenizer(models.BPE(vocab=vocab, merges=[(texts[i], texts[j]) for i, j in self.merges]))


def train_bpe(
    vocab: AudioVocab, clips: Iterable[Any], merges: int, longest: int = 16, markers: bool = False
) -> Bpe:
    """Learn which runs of first-codebook codes are frequent.

    Args:
        clips: codes ``(K, T)`` of each clip, or tokens.
        merges: runs to learn at most; fewer where no pair of neighbours occurs twice.
        longest: codes in a run at most, 2 or more.

    Raises:
        CodecError: without the package tokenizers, or for codes of another vocabulary.
    """
    try:
        from tokenizers import Tokenizer, models, trainers
    except ImportError:
        raise CodecError("training bpe needs the package tokenizers; pip install 'codec[llm]'") from None
    size = vocab.codebook_sizes[0]
    if size > _MOST_CODES:
        raise CodecError(f"bpe takes a codebook of at most {_MOST_CODES} codes, got {size}")
    trainer = trainers.BpeTrainer(
        vocab_size=size + merges,
        min_frequency=2,
        initial_alphabet=list(_text(range(size))),
        max_token_length=longest + 1,  # tokenizers stops below it
        show_progress=False,
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.train_from_iterator((_text(vocab.read_codes(clip)[0].tolist()) for clip in clips), trainer)
    return Bpe(vocab, markers, _pairs(json.loads(tokenizer.to_str())["model"]["merges"], size))


def _pairs(merges: Sequence[Sequence[str]], size: int) -> tuple[tuple[int, int], ...]:
    """Pairs of texts to pairs of numbers; a text that two pairs make keeps the number of the first."""
    numbers = {_text([code]): code for code in range(size)}
    pairs = []
    for left, right in merges:
        if left + right not in numbers:
            pairs.append((numbers[left], numbers[right]))
            numbers[left + right] = len(numbers)
    return tuple(pairs)


def _text(codes: Iterable[int]) -> str:
    return "".join(chr(_FIRST_CHARACTER + code) for code in codes)


def compression(layout: Bpe, clips: Iterable[Any]) -> float:
    """Codes of the first codebook for each id that stands for them, over all clips."""
    firsts = [layout.vocab.read_codes(clip)[0].tolist() for clip in clips]
    return sum(map(len, firsts)) / max(sum(len(layout.to_first(first)) for first in firsts), 1)
