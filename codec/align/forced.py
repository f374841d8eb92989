"""Alignment of a known label sequence to CTC frames (Viterbi), and greedy spans without one."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from codec.errors import CodecError


@dataclass(frozen=True)
class Span:
    """A label on frames ``first`` to ``last - 1``."""

    label: int
    first: int
    last: int


@dataclass(frozen=True)
class Alignment:
    """One span per label of the sequence, in order, and the path's log-probability."""

    spans: tuple[Span, ...]
    log_probability: float


def force_align(log_probs: np.ndarray, labels: list[int], blank: int) -> Alignment:
    """The most probable CTC path that spells ``labels``.

    States are blank, label 1, blank, label 2, ..., blank (Graves et al. 2006, section 4.1); a path may
    stay, advance by one, or skip a blank between two different labels.

    Args:
        log_probs: ``(T, C)``.

    Raises:
        CodecError: when T frames cannot hold the labels.
    """
    num_frames, needed = len(log_probs), len(labels) + sum(a == b for a, b in pairwise(labels))
    if num_frames < needed:
        raise CodecError(
            f"{num_frames} frames cannot hold {needed} labels; the text is longer than the audio"
        )
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    may_skip = np.zeros(len(states), dtype=bool)
    may_skip[2:] = (states[2:] != blank) & (states[2:] != states[:-2])
    score = np.full(len(states), -np.inf)
    score[:2] = log_probs[0, states[:2]]
    steps = np.zeros((num_frames, len(states)), dtype=np.int8)
    for frame in range(1, num_frames):
        options = np.full((3, len(states)), -np.inf)
        options[0] = score
        options[1, 1:] = score[:-1]
        options[2, 2:] = np.where(may_skip[2:], score[:-2], -np.inf)
        steps[frame] = options.argmax(axis=0)
        score = options.max(axis=0) + log_probs[frame, states]
    state = len(states) - 1
    if len(states) > 1 and score[-2] > score[-1]:
        state -= 1
    return Alignment(_trace(steps, states, state), float(score[state]))


def greedy_spans(log_probs: np.ndarray, blank: int) -> list[Span]:
    """Labels of the most probable frames ``(T, C)``, repeats merged and blanks dropped."""
    best = log_probs.argmax(axis=1)
    edges = np.flatnonzero(np.diff(best, prepend=-1, append=-1))
    runs = pairwise(edges)
    return [Span(int(best[a]), int(a), int(b)) for a, b in runs if best[a] != blank]


def _trace(steps: np.ndarray, states: np.ndarray, state: int) -> tuple[Span, ...]:
    """Walk back from the last frame; odd states are labels."""
    first, last = {}, {}
    for frame in range(len(steps) - 1, -1, -1):
        if state % 2:
            last.setdefault(state, frame + 1)
            first[state] = frame
        state -= int(steps[frame, state])
    return tuple(Span(int(states[s]), first[s], last[s]) for s in sorted(first))
