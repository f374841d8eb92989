"""Codes as text, for language models that are reached through their tokenizer alone."""

import re
import string
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from codec.errors import CodecError
from codec.tokens.layouts.base import PATTERN, layout
from codec.tokens.layouts.flat import Flat, FlatDecoder


@layout("text")
@dataclass(frozen=True)
class Text(Flat):
    """The ``flat`` layout as text: ``<|s0_17|><|s1_1003|>...``, frame by frame.

    Once a tokenizer has the tokens (:func:`codec.tokens.layouts.extend.extend_model`), it reads the text as
    the ids of ``flat``.
    """

    pattern: str = PATTERN
    """Text of code ``{i}`` of codebook ``{q}``; with one codebook ``{q}`` may be left out."""

    def __post_init__(self) -> None:
        try:
            pieces = list(string.Formatter().parse(self.pattern))
        except ValueError as error:
            raise CodecError(f"pattern {self.pattern!r}: {error}") from None
        names = [name for _, name, _, _ in pieces if name is not None]
        allowed = (["i"], ["q", "i"], ["i", "q"]) if self.num_codebooks == 1 else (["q", "i"], ["i", "q"])
        if names not in allowed or any(form or conversion for _, _, form, conversion in pieces):
            raise CodecError(f"pattern {self.pattern!r} must hold {{q}} and {{i}} once each, as in {PATTERN!r}")
        literals = [text for text, _, _, _ in pieces] + ([""] if pieces[-1][1] is not None else [])
        # Digits run into digits otherwise, and two codes could have one text.
        if any(text == "" or text[0].isdigit() or text[-1].isdigit() for text in literals[1:]):
            raise CodecError(f"pattern {self.pattern!r} must have a character other than a digit after {{q}} and {{i}}")

    @cached_property
    def texts(self) -> list[str]:
        """Text of every id, in order."""
        return self.tokens()

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Id of every text."""
        return {text: self.ids.base + i for i, text in enumerate(self.texts)}

    def tokens(self) -> list[str]:
        """Text of every id, in order from ``base``."""
        codes = [self.pattern.format(q=q, i=i) for q, width in enumerate(self.widths) for i in range(width)]
        return codes + super().tokens()[len(codes) :]

    def encode(self, codes: Any) -> Any:
        """The text."""
        return "".join(self.texts[number - self.ids.base] for number in super().encode(codes).tolist())

    def decode(self, ids: Any) -> Tensor:
        """Text to codes ``(K, T)``; a token that is cut short at the end is left out, as its frame is."""
        return super().decode([self._number(token) for token in self.split(ids)])

    def split(self, text: str) -> list[str]:
        """The tokens of a text.

        Raises:
            CodecError: for text between them.
        """
        if not isinstance(text, str):
            raise CodecError(f"expected a text such as {self.texts[0]}, got {type(text).__name__}")
        tokens, position = [], 0
        for match in self._token.finditer(text):
            if match.start() != position:
                break
            tokens.append(match.group())
            position = match.end()
        rest = text[position:]
        if rest and not any(token.startswith(rest) for token in self.texts):
            raise CodecError(f"character {position}: {rest[:20]!r} is no token such as {self.texts[0]}")
        return tokens

    def decoder(self) -> "TextDecoder":
        """See :meth:`Layout.decoder`."""
        return TextDecoder(self)

    @cached_property
    def _token(self) -> "re.Pattern[str]":
        number = "[0-9]+"
        code = "".join(
            re.escape(text) + (number if name else "") for text, name, _, _ in string.Formatter().parse(self.pattern)
        )
        specials = [re.escape(token) for token in self.texts[len(self.texts) - len(self.ids.specials) :]]
        return re.compile("|".join([code, *specials]))

    def _number(self, token: str) -> int:
        if token not in self.numbers:
            raise CodecError(f"{token!r} is no token of this vocabulary; its codebooks have {list(self.widths)} codes")
        return self.numbers[token]


class TextDecoder(FlatDecoder):
    """The same token by token."""

    def __init__(self, layout: Text):
        super().__init__(layout.ids)
        self._layout = layout

    def decode_stream(self, number: Any, /) -> Tensor | None:
        """What one more token, such as ``<|s0_17|>``, completes."""
        tokens = self._layout.split(number)
        if len(tokens) != 1 or tokens[0] != number:
            raise CodecError(f"{number!r} is not one token such as {self._layout.texts[0]}")
        return super().decode_stream(self._layout._number(number))
