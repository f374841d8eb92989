"""Times for a known text from words that were recognised with times, or that a method left out."""

import difflib
import unicodedata
from collections.abc import Sequence

from codec.align.words import Word


def transfer_times(text: str, recognised: Sequence[Word], seconds: float) -> list[Word]:
    """The words of ``text`` with the times of the recognised words that they match.

    Runs of equal words (case and punctuation aside) take their times one to one; a run that was
    recognised as something else shares that run's time; words that were not recognised at all share
    the pause between their neighbours.
    """
    known = text.split()
    left, right = [_plain(word) for word in known], [_plain(word.text) for word in recognised]
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
) -> list[Word]:
    """Words whose time is ``None`` share the gap between their neighbours (or the clip's ends)."""
    result: list[Word] = []
    i = 0
    while i < len(words):
        if times[i] is not None:
            result.append(Word(words[i], *times[i]))
            i += 1
            continue
        stop = next((j for j in range(i, len(words)) if times[j] is not None), len(words))
        start_time = result[-1].end if result else 0.0
        end_time = times[stop][0] if stop < len(words) else seconds
        result += share(words[i:stop], start_time, max(start_time, end_time))
        i = stop
    return result


def share(words: Sequence[str], start: float, end: float) -> list[Word]:
    """Divide a time among words by their number of characters."""
    total = sum(len(word) for word in words)
    result, spent = [], 0
    for word in words:
        first = start + (end - start) * spent / total
        spent += len(word)
        result.append(Word(word, first, start + (end - start) * spent / total))
    return result


def _plain(word: str) -> str:
    """Lower case, letters and digits only."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return "".join(c for c in folded if c.isalnum()) or folded
