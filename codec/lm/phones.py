"""Text as numbers: the phones of the words in a pronouncing dictionary, and the letters of other words."""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.lm.characters import normal

PAUSES = " ,.;:?!"
"""Symbols that need not be heard: ends of words and punctuation."""
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u2014": ",", "\u2013": ","})
_VARIANT = re.compile(r"\(\d+\)$")


@dataclass(frozen=True)
class Phones:
    """Phones of US English by CMU's dictionary, which comes with the package pocketsphinx.

    A word that the dictionary lacks is spelled by its letters, in lower case; phones are in upper case.

    Attributes:
        known: the symbols that a model has learned, sorted.
    """

    known: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Phones":
        """The symbols of some texts."""
        return cls(tuple(sorted({symbol for text in texts for symbol in spell(text)})))

    def __len__(self) -> int:
        return len(self.known)

    def encode(self, text: str) -> Tensor:
        """``(L,)`` int64.

        Raises:
            CodecError: for a text without words, with digits, or with a symbol that no training text had.
        """
        if not reads(text):
            raise CodecError("the text has no words, or digits; write numbers as they are spoken")
        symbols = spell(text)
        if strange := sorted(set(symbols) - set(self.known)):
            raise CodecError(f"the model has never read {strange[0]!r}; it knows {' '.join(self.known)!r}")
        return torch.tensor([self.known.index(symbol) for symbol in symbols])

    def encode_known(self, text: str) -> Tensor:
        """``(L,)`` int64; symbols that were not learned are left out."""
        known = [self.known.index(symbol) for symbol in spell(text) if symbol in self.known]
        return torch.tensor(known, dtype=torch.int64)

    def optional(self) -> Tensor:
        """``(len(self),)`` bool: symbols that may take no frame."""
        return torch.tensor([symbol in PAUSES for symbol in self.known])


def reads(text: str | None) -> bool:
    """Whether a text has words, and no digits: how a number was read aloud is not known."""
    return text is not None and any(c.isalpha() for c in text) and not any(c.isnumeric() for c in text)


def spell(text: str) -> list[str]:
    """Phones, letters and pauses; a pause at either end, and never two in a row."""
    dictionary, symbols = pronunciations(), [" "]
    for part in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*|[,.;:?!]|\s+", normal(text).translate(_APOSTROPHES)):
        if part.isspace() or part in PAUSES:
            # Punctuation says more than a space.
            if symbols[-1] == " ":
                symbols[-1] = part[0] if part in PAUSES else " "
            elif symbols[-1] not in PAUSES:
                symbols.append(part[0] if part in PAUSES else " ")
        else:
            symbols += dictionary.get(part) or [c for c in part if c != "'"]
    return symbols if symbols[-1] in PAUSES else [*symbols, " "]


@functools.cache
def pronunciations() -> dict[str, tuple[str, ...]]:
    """The first pronunciation of each word.

    Raises:
        CodecError: without pocketsphinx.
    """
    try:
        from pocketsphinx import get_model_path
    except ImportError:
        raise CodecError(
            "phones come from the dictionary of pocketsphinx, which is not installed; "
            "pip install 'codec[eval]', or set spelling=characters"
        ) from None
    with open(get_model_path("en-us/cmudict-en-us.dict"), encoding="utf-8") as file:
        rows = [line.split() for line in file if line.strip()]
    return {word: tuple(phones) for word, *phones in rows if not _VARIANT.search(word)}
