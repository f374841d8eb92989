"""ABX probe: whether the same triphone lies nearer than one that differs in its middle phone."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TypeVar

import numpy as np

from codec.align.phones import align_clips, check_aligner, frame_centres, on_grid
from codec.align.pocketsphinx import SILENCE
from codec.align.types import Interval
from codec.config import to_dict
from codec.errors import CodecError
from codec.eval.probes.abx_distance import pair_distances
from codec.eval.probes.features import frame_features
from codec.eval.probes.phone_labels import can_be_aligned
from codec.eval.probes.registry import probe
from codec.eval.probes.sources import LATENTS, LatentSource, TokenSource, View, views
from codec.eval.probes.statistics import few_speakers_note, mean_of_ratios, speaker_interval
from codec.eval.probes.types import CodedClip, Finding, Omitted, ProbeResult, ProbeTask

CHANCE = 0.5


@dataclass(frozen=True)
class Item:
    """A triphone that was spoken, and its frames ``start <= t < stop`` in the tokens."""

    clip: int
    speaker: str
    context: tuple[str, str]
    """The phones before and after."""
    phone: str
    start: int
    stop: int


@dataclass(frozen=True)
class Cell:
    """One comparison: items of one phone against items of another, in one context.

    Attributes:
        pair: the two phones in alphabetical order.
        unit: speaker of X, whom the bootstrap draws.
        a, b, x: indices of items. Within a speaker ``a`` and ``x`` are the same items, and none is
            compared with itself.
    """

    pair: tuple[str, str]
    unit: str
    a: list[int]
    b: list[int]
    x: list[int]


@probe("abx")
class AbxProbe:
    """Error of ABX on triphones, within and across speakers (Schatz et al. 2013, ZeroSpeech).

    X and A are the same triphone, B differs in its middle phone; it is an error when X is nearer to B,
    half of one when it is as near. Within: all three by one speaker. Across: A and B by one speaker, X by
    another. Means over contexts, then speakers, then pairs of phones.
    """

    resembles = ("phones", "phone")

    @dataclass(frozen=True)
    class Config:
        items: int = 10
        """Limit on the instances of a triphone by a speaker, drawn at random."""
        others: int = 5
        """Limit on the speakers of A and B for each X, drawn at random."""

    def __init__(self, config: "AbxProbe.Config"):
        self.config = config

    def check(self, task: ProbeTask) -> None:
        check_aligner()
        if sum(can_be_aligned(clip) for clip in task.clips) < 2:
            raise CodecError("the abx probe needs two clips with English text in the manifest")

    def run(self, task: ProbeTask) -> ProbeResult:
        result = ProbeResult("abx", settings=to_dict(self.config))
        clips, phones = self._aligned(task, result.skipped)
        items = [item for i, clip in enumerate(clips) for item in _items(i, clip, phones[i], task.tokens)]
        rng = np.random.default_rng(task.seed)
        groups = _group(items, self.config.items, rng)
        kinds = {
            "abx_error_within": list(_within(groups)),
            "abx_error_across": list(_across(groups, self.config.others, rng)),
        }
        result.notes += few_speakers_note([clip.speaker for clip in clips])
        for name, cells in kinds.items():
            pairs = len({cell.pair for cell in cells})
            text = f"{len(cells)} comparisons of {pairs} pairs of phones" if cells else "nothing to compare"
            result.notes.append(f"{name.replace('_', ' ')}: {text}")
        for view in _views(task.tokens):
            frames = [_frames(clip, view, task.tokens) for clip in clips]
            pieces = [frames[item.clip][item.start : item.stop] for item in items]
            for name, cells in kinds.items():
                if cells:
                    result.measures.append(_measure(name, view, cells, pieces, len(clips), task.seed))
        return result

    def _aligned(
        self, task: ProbeTask, skipped: list[Omitted]
    ) -> tuple[list[CodedClip], list[Sequence[Interval]]]:
        """Clips that have tokens and phones, and their phones."""
        usable = [clip for clip in task.clips if can_be_aligned(clip)]
        skipped += [
            Omitted(clip.name, "not English" if clip.text else "no text")
            for clip in task.clips
            if not can_be_aligned(clip)
        ]
        coded = task.code(usable, skipped)
        found = align_clips([c.clip for c in coded], task.out / "alignments.jsonl", skipped)
        clips = [clip for clip in coded if clip.clip.name in found]
        return clips, [found[clip.clip.name] for clip in clips]


def _views(tokens: TokenSource) -> Iterator[View]:
    """First layer and all layers, as vectors where these are known; latents where there are any."""
    features = "one-hot" if tokens.codebooks is None else "vectors"
    yield from (view for view in views(tokens) if view.features == features)
    if isinstance(tokens, LatentSource):
        yield LATENTS


def _frames(clip: CodedClip, view: View, tokens: TokenSource) -> np.ndarray:
    """``(T, D)``"""
    if view == LATENTS:
        assert isinstance(tokens, LatentSource)
        return tokens.latents(clip.clip).numpy()
    frames = frame_features(clip.codes, view, tokens)
    return frames if isinstance(frames, np.ndarray) else frames.toarray()


def _items(index: int, clip: CodedClip, phones: Sequence[Interval], tokens: TokenSource) -> Iterator[Item]:
    """Triphones without silence or unknown phones that have a frame's centre in them."""
    centres = frame_centres(clip.codes.shape[1], tokens.frame_rate)
    for before, middle, after in zip(phones, phones[1:], phones[2:], strict=False):
        left, phone, right = before.label, middle.label, after.label
        if left is None or phone is None or right is None or SILENCE in (left, phone, right):
            continue
        start, stop = np.searchsorted(centres, [on_grid(before.start), on_grid(after.end)]).tolist()
        if start < stop:
            yield Item(index, clip.speaker, (left, right), phone, start, stop)


Name = TypeVar("Name", int, str)
Groups = dict[tuple[str, str], dict[str, dict[str, list[int]]]]
"""Indices of items by context, middle phone and speaker."""


def _group(items: list[Item], limit: int, rng: np.random.Generator) -> Groups:
    groups: Groups = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for index in rng.permutation(len(items)).tolist():
        item = items[index]
        places = groups[item.context][item.phone][item.speaker]
        if len(places) < limit:
            places.append(index)
    # In a fixed order: the draw must not decide in which order values are added.
    return {
        context: {p: dict(phones[p]) for p in sorted(phones)} for context, phones in sorted(groups.items())
    }


def _within(groups: Groups) -> Iterator[Cell]:
    for phones in groups.values():
        for first, second in permutations(phones, 2):
            for speaker in sorted(phones[first].keys() & phones[second].keys()):
                same = phones[first][speaker]
                if len(same) > 1:
                    yield Cell(_ordered(first, second), speaker, same, phones[second][speaker], same)


def _across(groups: Groups, others: int, rng: np.random.Generator) -> Iterator[Cell]:
    for phones in groups.values():
        for first, second in permutations(phones, 2):
            both = sorted(phones[first].keys() & phones[second].keys())
            for speaker, x in sorted(phones[first].items()):
                able = [other for other in both if other != speaker]
                for i in sorted(rng.permutation(len(able))[:others].tolist()):
                    a, b = phones[first][able[i]], phones[second][able[i]]
                    yield Cell(_ordered(first, second), speaker, a, b, x)


def _ordered(first: Name, second: Name) -> tuple[Name, Name]:
    return (first, second) if first < second else (second, first)


def _measure(
    name: str, view: View, cells: list[Cell], pieces: list[np.ndarray], clips: int, seed: int
) -> Finding:
    wanted = sorted({_ordered(i, x) for cell in cells for x in cell.x for i in (*cell.a, *cell.b) if i != x})
    values = pair_distances(pieces, np.array(wanted))
    distances = dict(zip(wanted, values.tolist(), strict=True))
    counts, units = _counts(cells, [_error(cell, distances) for cell in cells])
    value = mean_of_ratios(counts.sum(axis=0))
    # Draws without a speaker of many pairs lean to one side.
    interval = speaker_interval(counts, units, mean_of_ratios, seed, recentre=True)
    return Finding.of(name, view, value, interval, CHANCE, "lower", clips)


def _error(cell: Cell, distances: dict[tuple[int, int], float]) -> float:
    """Share of the triples of A, B and X in which X is nearer to B; ties count half."""
    wrong, triples = 0.0, 0
    for x in cell.x:
        same = np.array([distances[_ordered(a, x)] for a in cell.a if a != x])
        other = np.array([distances[_ordered(b, x)] for b in cell.b])
        wrong += np.sum(same[:, None] > other) + 0.5 * np.sum(same[:, None] == other)
        triples += len(same) * len(other)
    return wrong / triples


def _counts(cells: list[Cell], errors: list[float]) -> tuple[np.ndarray, list[str]]:
    """``(units, pairs, 2)``: mean error over the contexts of a speaker and a pair, and 1; and the units."""
    found: dict[tuple[str, tuple[str, str]], list[float]] = defaultdict(list)
    for cell, error in zip(cells, errors, strict=True):
        found[cell.unit, cell.pair].append(error)
    units, pairs = sorted({unit for unit, _ in found}), sorted({pair for _, pair in found})
    counts = np.zeros((len(units), len(pairs), 2))
    for (unit, pair), values in found.items():
        counts[units.index(unit), pairs.index(pair)] = np.mean(values), 1
    return counts, units
