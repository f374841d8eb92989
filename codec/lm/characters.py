"""Text as numbers: the characters of the training texts, in lower case."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.errors import CodecError


@dataclass(frozen=True)
class Characters:
    """The characters that a model has learned, sorted."""

    known: str

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Characters":
        """Those of some texts."""
        return cls("".join(sorted({character for text in texts for character in normal(text)})))

    def __len__(self) -> int:
        return len(self.known)

    def encode(self, text: str) -> Tensor:
        """``(L,)`` int64.

        Raises:
            CodecError: for an empty text, or a character that no training text had.
        """
        plain = normal(text)
        if not plain:
            raise CodecError("the text is empty; give some words")
        if strange := sorted(set(plain) - set(self.known)):
            raise CodecError(f"the model has never read {strange[0]!r}; it knows {self.known!r}")
        return torch.tensor([self.known.index(character) for character in plain])

    def encode_known(self, text: str) -> Tensor:
        """``(L,)`` int64; characters that were not learned are left out."""
        kept = "".join(character for character in normal(text) if character in self.known or character == " ")
        known = [self.known.index(character) for character in normal(kept) if character in self.known]
        return torch.tensor(known, dtype=torch.int64)

    def optional(self) -> Tensor:
        """``(len(self),)`` bool: characters that need not be heard."""
        return torch.tensor([not character.isalnum() for character in self.known])


def normal(text: str) -> str:
    """Lower case, and single spaces."""
    return " ".join(text.lower().split())
