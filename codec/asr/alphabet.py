"""Texts as the labels that CTC learns: characters of a fixed alphabet."""

import itertools

from codec.align.transcript import plain_words
from codec.errors import CodecError

CHARACTERS = " 'abcdefghijklmnopqrstuvwxyzßäöü"
"""Of English and German, by default."""


class Alphabet:
    """Characters and their labels, from 1; 0 is the blank of CTC.

    Attributes:
        characters: in the order of their labels.
    """

    def __init__(self, characters: str = CHARACTERS):
        """
        Raises:
            CodecError: for no characters, or one that is there twice.
        """
        if not characters or len(set(characters)) < len(characters):
            raise CodecError(f"config alphabet: expected different characters, got {characters!r}")
        self.characters = characters
        self._labels = {character: label for label, character in enumerate(characters, start=1)}

    @property
    def size(self) -> int:
        """Number of labels with the blank."""
        return len(self.characters) + 1

    def labels(self, text: str | None) -> list[int] | None:
        """Labels of a text in lower case and without punctuation.

        ``None`` when there are no words, or a character that the alphabet lacks: a text with a hole would
        teach the wrong thing.
        """
        try:
            words = plain_words(text)
        except CodecError:
            return None
        if any(character not in self._labels for character in words):
            return None
        return [self._labels[character] for character in words]

    def text(self, labels: list[int]) -> str:
        """The text of one label per frame: repeats count once, and blanks not at all."""
        kept = [b for a, b in itertools.pairwise([0, *labels]) if b != a and b > 0]
        return " ".join("".join(self.characters[label - 1] for label in kept).split())


def frames_needed(labels: list[int]) -> int:
    """Fewest frames that can spell ``labels``: one each, and a blank between two that are the same."""
    return len(labels) + sum(a == b for a, b in itertools.pairwise(labels))
