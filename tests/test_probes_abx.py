"""ABX on features whose meaning is planted: perfect, absent, of one layer only."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")

from codec.align.types import Interval
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes import ModelTokens, TokenTable, probe_tokens
from codec.eval.probes import abx as abx_module
from codec.eval.probes.abx_distance import angular, pair_distances, warp

PHONES = ["SIL", "AH", "T", "S", "IY"]
FRAMES = 300
SPEAKERS, EACH = 4, 3


@pytest.fixture
def aligned(monkeypatch):
    """Clips with phones of 60 ms in random order (3 frames at 50 Hz), and no need to align them.

    No phone follows itself: with warping, AH-AH-T is AH-T-T.
    """
    rng = np.random.default_rng(0)
    clips = [
        Clip(f"s{speaker}/c{i}.wav", FRAMES / 50, speaker=f"s{speaker}", text="hello")
        for speaker in range(SPEAKERS)
        for i in range(EACH)
    ]
    steps = {clip.name: rng.integers(1, len(PHONES), size=FRAMES // 3) for clip in clips}
    phones = {name: np.repeat(step.cumsum() % len(PHONES), 3) for name, step in steps.items()}
    alignments = {
        name: [Interval(PHONES[phone], 6 * i / 100, (6 * i + 6) / 100) for i, phone in enumerate(values[::3])]
        for name, values in phones.items()
    }
    monkeypatch.setattr(
        abx_module, "align_clips", lambda asked, cache, skipped: {c.name: alignments[c.name] for c in asked}
    )
    monkeypatch.setattr(abx_module, "check_aligner", lambda: None)
    return clips, phones


def probe(codes, clips, out, codebooks=None, seed=0, **options):
    table = TokenTable(codes, 50, codebook_size=60, codebooks=codebooks)
    return probe_tokens(table, clips, None, ["abx"], seed, out, {"abx": options})["abx"]


def as_codes(values):
    return {name: torch.from_numpy(np.atleast_2d(array)) for name, array in values.items()}


def errors(result, codebooks="1"):
    names = ("abx_error_within", "abx_error_across")
    return [result.measure(name, codebooks).value for name in names]


@pytest.mark.parametrize("vectors", [None, torch.eye(60)[None]])
def test_codes_that_are_phones_make_no_error(aligned, tmp_path, vectors):
    clips, phones = aligned
    result = probe(as_codes(phones), clips, tmp_path, vectors)
    assert errors(result) == [0.0, 0.0]
    for measure in result.measures:
        assert (measure.low, measure.high, measure.baseline, measure.better) == (0.0, 0.0, 0.5, "lower")
        assert (measure.units, measure.unit, measure.clips) == (SPEAKERS, "speaker", SPEAKERS * EACH)
        assert measure.features == ("one-hot" if vectors is None else "vectors")


def test_vectors_without_information_err_in_half(aligned, tmp_path):
    clips, phones = aligned
    rng = np.random.default_rng(1)
    codes = {name: rng.integers(60, size=FRAMES) for name in phones}
    vectors = torch.from_numpy(rng.standard_normal((1, 60, 8)).astype(np.float32))
    result = probe(as_codes(codes), clips, tmp_path, vectors)
    assert errors(result) == pytest.approx([0.5, 0.5], abs=0.04)
    within = result.measure("abx_error_within")
    assert within.low < 0.5 < within.high and within.high - within.low < 0.2


def test_equal_distances_are_half_an_error(aligned, tmp_path):
    clips, phones = aligned
    result = probe(as_codes({name: np.zeros(FRAMES, dtype=int) for name in phones}), clips, tmp_path)
    assert errors(result) == [0.5, 0.5]


def test_phones_that_each_speaker_codes_in_a_way_of_his_own_are_told_apart_within_only(aligned, tmp_path):
    clips, phones = aligned
    # Codes of phones, rotated by speaker: a stranger's phone looks like another phone of one's own.
    codes = {clip.name: (phones[clip.name] + int(clip.speaker[1:])) % len(PHONES) for clip in clips}
    within, across = errors(probe(as_codes(codes), clips, tmp_path))
    assert within == 0.0 and across > 0.3


def test_information_in_later_layers_is_found_there_only(aligned, tmp_path):
    clips, phones = aligned
    codes = {name: np.stack([np.zeros(FRAMES, dtype=int), values]) for name, values in phones.items()}
    result = probe(as_codes(codes), clips, tmp_path, torch.eye(60).repeat(2, 1, 1))
    assert errors(result) == [0.5, 0.5]
    assert errors(result, "1-2") == [0.0, 0.0]


def test_scale_of_the_vectors_and_names_of_the_codes_change_nothing(aligned, tmp_path):
    clips, phones = aligned
    rng = np.random.default_rng(2)
    noisy = {
        n: np.where(rng.random(FRAMES) < 0.6, rng.integers(60, size=FRAMES), v) for n, v in phones.items()
    }
    vectors = torch.from_numpy(rng.standard_normal((1, 60, 8)).astype(np.float32))
    first = probe(as_codes(noisy), clips, tmp_path / "a", vectors)
    louder = probe(as_codes(noisy), clips, tmp_path / "b", 8 * vectors)
    order = rng.permutation(60)
    renamed = probe(
        as_codes({name: order[values] for name, values in noisy.items()}),
        clips,
        tmp_path / "c",
        vectors[:, np.argsort(order)],
    )
    assert 0.02 < errors(first)[0] < 0.48
    assert errors(louder) == errors(first)
    assert errors(renamed) == errors(first)


def test_the_order_of_the_clips_changes_nothing_where_all_are_compared(aligned, tmp_path):
    clips, phones = aligned
    rng = np.random.default_rng(3)
    noisy = as_codes(
        {n: np.where(rng.random(FRAMES) < 0.6, rng.integers(60, size=FRAMES), v) for n, v in phones.items()}
    )
    limits = {"items": 1000, "others": 1000}
    first = probe(noisy, clips, tmp_path / "a", **limits)
    backwards = probe(noisy, clips[::-1], tmp_path / "b", seed=1, **limits)
    assert errors(backwards) == pytest.approx(errors(first), abs=1e-12)


def test_one_comparison_by_hand(monkeypatch, tmp_path):
    """Twice AH-T-IY and once AH-S-IY by one speaker, one frame a phone."""
    spoken = ["AH", "T", "IY", "SIL", "AH", "T", "IY", "SIL", "AH", "S", "IY", "SIL", "AH", None, "IY"]
    intervals = [Interval(phone, 2 * i / 100, (2 * i + 2) / 100) for i, phone in enumerate(spoken)]
    monkeypatch.setattr(abx_module, "align_clips", lambda asked, cache, skipped: {"a": intervals, "b": []})
    monkeypatch.setattr(abx_module, "check_aligner", lambda: None)
    clips = [Clip("a.wav", 1.0, speaker="s", text="x"), Clip("b.wav", 1.0, speaker="s", text="x")]
    blank = torch.zeros(1, len(spoken), dtype=torch.long)
    # In its middle one T is coded as the S is: that T as X lies nearer to S, the other has a draw of equals.
    codes = blank.clone()
    codes[0, [1, 5, 9]] = torch.tensor([1, 2, 2])
    result = probe({"a": codes, "b": blank}, clips, tmp_path)
    # X the first T: A the second, B the S, both as far: half. X the second: B at distance 0: one.
    assert result.measure("abx_error_within").value == pytest.approx(0.75)
    assert result.measure("abx_error_within").low is None
    assert "abx error across: nothing to compare" in result.notes


def test_the_latents_of_a_model_are_measured_too(aligned, tmp_path, tiny_model):
    import soundfile

    clips, _ = aligned
    rng = np.random.default_rng(0)
    clips = [Clip(c.path, c.seconds, speaker=c.speaker, text=c.text, root=str(tmp_path)) for c in clips]
    for clip in clips:
        clip.audio.parent.mkdir(exist_ok=True)
        # Half a hop more than whole frames, which are as many as the codes'.
        soundfile.write(clip.audio, 0.1 * rng.standard_normal(FRAMES * 320 - 160), 16_000)
    tokens = ModelTokens(tiny_model)
    result = probe_tokens(tokens, clips, None, ["abx"], 0, tmp_path / "out")["abx"]
    assert {(m.codebooks, m.features) for m in result.measures} == {
        ("1", "vectors"),
        ("1-8", "vectors"),
        ("none", "latents"),
    }
    latents = tokens.latents(clips[0])
    assert latents.shape[0] == tokens.codes(clips[0]).shape[1] == FRAMES
    # What was quantized by the layers: the same first codes.
    first = tiny_model.quantizer.encode(latents.T[None], 8)[0]
    assert (first == tokens.codes(clips[0])).float().mean() > 0.99


def test_clips_without_text_are_refused_before_work(monkeypatch, tmp_path):
    monkeypatch.setattr(abx_module, "check_aligner", lambda: None)
    clips = [Clip(f"{name}.wav", 1.0, speaker="s") for name in "ab"]
    with pytest.raises(CodecError, match="two clips with English text"):
        probe({name: torch.zeros(1, 9, dtype=torch.long) for name in "ab"}, clips, tmp_path)


frames = st.integers(1, 7).flatmap(
    lambda length: st.integers(0, 2**31).map(
        lambda seed: np.random.default_rng(seed).integers(-1, 2, (length, 3)).astype(np.float32)
    )
)


def slow_warp(distances: np.ndarray) -> float:
    """The cheapest path by trying all, of equals the shortest."""

    def paths(i, j):
        here = (round(float(distances[i, j]), 12),)
        if (i, j) == (0, 0):
            return [here]
        back = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        return [path + here for a, b in back if min(a, b) >= 0 for path in paths(a, b)]

    cost, steps = min((round(sum(path), 9), len(path)) for path in paths(*(n - 1 for n in distances.shape)))
    return cost / steps


@settings(deadline=None, max_examples=60)
@given(frames, frames)
def test_the_distance_is_that_of_the_cheapest_path_and_symmetric(first, second):
    there, back = pair_distances([first, second], np.array([[0, 1], [1, 0]]))
    assert there == back
    assert 0 <= there <= 1
    assert there == pytest.approx(slow_warp(angular(first, second)), abs=1e-8)


def test_of_paths_that_cost_the_same_the_shortest_counts_whatever_rounding_says():
    # .7 + .1 is less than .8 in floating point, by way of one more frame.
    distances = np.array([[0.0, 0.7, 1.0], [1.0, 0.8, 0.1], [1.0, 1.0, 0.0]])
    assert warp(distances[None], np.array([3]), np.array([3])) == pytest.approx(0.8 / 3, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(frames, frames, st.floats(1e-3, 1e3))
def test_the_distance_ignores_scale_and_is_zero_from_itself(first, second, scale):
    one, scaled, same = pair_distances(
        [first, second, scale * second.astype(np.float64)], np.array([[0, 1], [0, 2], [0, 0]])
    )
    assert one == pytest.approx(scaled, abs=1e-9) and same == 0.0


def test_angles_by_hand():
    compass = np.array([[1.0, 0], [0, 2], [-3, 0], [1, 1]])
    assert angular(compass[:1], compass)[0] == pytest.approx([0, 0.5, 1, 0.25])


def test_a_repeated_frame_costs_nothing():
    once = np.eye(4)
    slowly = np.repeat(once, 3, axis=0)
    assert pair_distances([once, slowly], np.array([[0, 1]])) == [0.0]
