"""Transcripts: the words that are spoken, and times for those that a model timed loosely or not at all."""

import difflib
import unicodedata
from collections.abc import Sequence

import torch
from torch import Tensor

from codec.align.types import Interval
from codec.errors import CodecError

STEP = 0.01
"""Seconds a loudness frame."""
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})


def plain_words(text: str | None) -> str:
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


def transfer_times(text: str, recognised: Sequence[Interval], seconds: float) -> list[Interval]:
    """The words of ``text`` with the times of the recognised words that they match.

    Runs of equal words (case and punctuation aside) take their times one to one; a run that was
    recognised as something else shares that run's time; words that were not recognised at all share
    the pause between their neighbours.
    """
    known = text.split()
    left, right = [_plain(word) for word in known], [_plain(word.label or "") for word in recognised]
    times: list[tuple[float, float] | None] = [None] * len(known)
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            for i, j in zip(range(a, b), range(c, d), strict=True):
                times[i] = (recognised[j].start, recognised[j].end)
        elif kind == "replace":
            shared = share(known[a:b], recognised[c].start, recognised[d - 1].end)
            times[a:b] = [(word.start, word.end) for word in shared]
    return fill_gaps(known, times, seconds)


def fill_gaps(
    words: Sequence[str], times: Sequence[tuple[float, float] | None], seconds: float
) -> list[Interval]:
    """Words whose time is ``None`` share the gap between their neighbours (or the clip's ends)."""
    result: list[Interval] = []
    i = 0
    while i < len(words):
        known = times[i]
        if known is not None:
            result.append(Interval(words[i], *known))
            i += 1
            continue
        later = ((j, time[0]) for j in range(i, len(words)) if (time := times[j]) is not None)
        stop, end_time = next(later, (len(words), seconds))
        start_time = result[-1].end if result else 0.0
        result += share(words[i:stop], start_time, max(start_time, end_time))
        i = stop
    return result


def share(words: Sequence[str], start: float, end: float) -> list[Interval]:
    """Divide a time among words by their number of characters."""
    total = sum(len(word) for word in words)
    result, spent = [], 0
    for word in words:
        first = start + (end - start) * spent / total
        spent += len(word)
        result.append(Interval(word, first, start + (end - start) * spent / total))
    return result


def tighten(
    words: Sequence[Interval], wav: Tensor, sample_rate: int, floor_db: float = 35.0
) -> list[Interval]:
    """Move each word's edges inwards to its first and last loud frame.

    Times from cross-attention start a sentence's first word at 0 and end its last one with the clip.
    A frame is loud when it is at most ``floor_db`` below the clip's 95th percentile. Words without
    any loud frame stay as they are.

    Args:
        wav: ``(T,)``.
    """
    size = round(STEP * sample_rate)
    count = len(wav) // size
    if count == 0:
        return list(words)
    level = 10 * torch.log10(wav[: count * size].reshape(count, size).square().mean(dim=1) + 1e-12)
    loud = level >= torch.quantile(level, 0.95) - floor_db
    result = []
    for word in words:
        first, last = int(round(word.start / STEP, 6)), min(count, round(word.end / STEP))
        active = torch.nonzero(loud[first:last])[:, 0]
        if len(active):
            start = max(word.start, (first + int(active[0])) * STEP)
            end = min(word.end, (first + int(active[-1]) + 1) * STEP)
            result.append(Interval(word.label, start, max(start, end)))
        else:
            result.append(word)
    return result


def _plain(word: str) -> str:
    """Lower case, letters and digits only."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return "".join(c for c in folded if c.isalnum()) or folded
