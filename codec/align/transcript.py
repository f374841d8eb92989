"""Transcripts as words that are spoken: what the aligner and the text probe can use."""

import unicodedata

from codec.errors import CodecError

_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})


def normalise(text: str | None) -> str:
    """Lower-case words of letters and inner apostrophes, with single spaces between them.

    Raises:
        CodecError: without words, or with digits: how a number was read aloud is not known.
    """
    if not text or not text.strip():
        raise CodecError("no text")
    text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).lower()
    if any(character.isnumeric() for character in text):
        raise CodecError("digits in the text; write numbers as they are spoken")
    kept = "".join(c if c.isalpha() or c == "'" or unicodedata.combining(c) else " " for c in text)
    words = [word.strip("'") for word in kept.split()]
    words = [word for word in words if word]
    if not words:
        raise CodecError("no words in the text")
    return " ".join(words)
