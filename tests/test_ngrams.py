"""N-grams of codes: probabilities that add up, the counts of the books, and the lm probe on them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes import ModelTokens, ProbeTask, TokenTable
from codec.eval.probes.lm import LanguageModelProbe
from codec.eval.probes.token_lm import TokenLmConfig, train_token_lm
from codec.tokens.ngrams import NGram, NGramModel, grams_of


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 1000))
def test_probabilities_add_up_to_one_after_any_context(order, size, seed):
    rng = np.random.default_rng(seed)
    clips = [rng.integers(size, size=(2, rng.integers(1, 20))) for _ in range(3)]
    model = NGramModel(clips, (size, size), order)
    for layer in model.layers:
        for context in rng.integers(size + 1, size=(5, order - 1)):
            rows = np.concatenate([np.tile(context, (size, 1)), np.arange(size)[:, None]], axis=1)
            assert np.isclose(layer.probabilities(rows).sum(), 1)
            assert (layer.probabilities(rows) > 0).all()


def test_a_bigram_by_hand():
    # Twice 0 1, once 0 0, once 1 1: discount 2 / (2 + 2 * 1).
    model = NGram(np.array([[0, 1], [0, 1], [0, 0], [1, 1]]), 2)
    # Lower order: 1 came after two different codes, 0 after one; no code after exactly two kinds is twice here.
    once, twice = 1, 1
    low_discount = once / (once + 2 * twice)
    lower = (2 - low_discount) / 3 + low_discount * 2 / 3 * 0.5
    expected = (2 - 0.5) / 3 + 0.5 * 2 / 3 * lower
    assert model.probabilities(np.array([[0, 1]]))[0] == pytest.approx(expected)


def test_contexts_are_the_codebook_before_and_then_the_own_past():
    codes = np.array([[1, 2, 3], [4, 5, 6]])
    assert grams_of(codes, 0, 3, 9).tolist() == [[9, 9, 1], [9, 1, 2], [1, 2, 3]]
    assert grams_of(codes, 1, 3, 9).tolist() == [[9, 1, 4], [4, 2, 5], [5, 3, 6]]
    assert grams_of(codes, 1, 1, 9).tolist() == [[4], [5], [6]]
    assert grams_of(codes[:, :1], 0, 4, 9).tolist() == [[9, 9, 9, 1]]


def test_each_order_learns_what_its_context_decides():
    rng = np.random.default_rng(0)
    # The next code is that of two frames before, with noise: bits of a fair draw from 8 without the context.
    codes = [rng.integers(8, size=2).tolist() for _ in range(20)]
    for clip in codes:
        for _ in range(400):
            clip.append(clip[-2] if rng.random() < 0.9 else int(rng.integers(8)))
    clips = [np.array([clip]) for clip in codes]
    bits = {o: sum(NGramModel(clips[:15], (8,), o).bits(c).sum() for c in clips[15:]) / (5 * 402) for o in (1, 2, 3)}
    shares = np.array([0.9 + 0.1 / 8, *[0.1 / 8] * 7])
    entropy = -(shares * np.log2(shares)).sum()
    assert 2.8 < bits[2] < 3.1 and 2.9 < bits[1] < 3.1
    assert entropy < bits[3] < entropy + 0.1


@pytest.mark.parametrize(
    "grams, size, message",
    [
        (np.zeros((0, 2)), 4, "N above 0"),
        ([[0, 4]], 4, "must lie in 0..3"),
        ([[-1, 0]], 4, "must lie in 0..3"),
        (np.zeros((1, 7)), 1024, "too high"),
    ],
)
def test_what_cannot_be_counted(grams, size, message):
    with pytest.raises(CodecError, match=message):
        NGram(np.array(grams), size)


def clips_of(count, speakers, prefix):
    return [Clip(path=f"{prefix}{i}.wav", seconds=1.0, speaker=f"{prefix}{i % speakers}") for i in range(count)]


def tokens_of(clips, predictable, seed=0):
    rng, table = np.random.default_rng(seed), {}
    for clip in clips:
        steps = np.arange(60) + rng.integers(16)
        codes = steps % 16 if predictable else rng.integers(16, size=60)
        table[clip.name] = torch.from_numpy(np.stack([codes, rng.integers(16, size=60)]))
    return TokenTable(table, frame_rate=50.0, codebook_size=16)


def ask(tokens, test, train):
    small = TokenLmConfig(steps=60, batch_size=8, frames=50, hidden=16)
    task, probe = ProbeTask(tokens, test, train, 0, Path()), LanguageModelProbe(LanguageModelProbe.Config(model=small))
    probe.check(task)
    return probe.run(task)


def test_the_probe_tells_predictable_tokens_from_noise():
    train, test = clips_of(30, 10, "a"), clips_of(12, 4, "b")
    results = {}
    for name, predictable in (("counting", True), ("noise", False)):
        tokens = tokens_of(train + test, predictable)
        runs = [ask(tokens, test, train) for _ in range(2)]
        assert runs[0] == runs[1]
        results[name] = runs[0]
    counting, noise = (results[name].measure("bigram_bits_per_frame") for name in ("counting", "noise"))
    assert counting.value < 0.5 and noise.value > 3.9
    assert counting.low <= counting.value <= counting.high and noise.low <= noise.value <= noise.high
    assert counting.baseline == 4 and counting.better == "lower" and counting.unit == "speaker"
    both = results["noise"].measure("unigram_bits_per_frame", "1-2")
    assert both.baseline == 8 and 7.9 < both.value < 8.3
    assert results["noise"].measure("unigram_bits_per_second", "1-2").value == pytest.approx(50 * both.value)


def test_the_baseline_is_what_codes_cost_that_are_all_alike_in_their_own_codebook():
    train, test = clips_of(30, 10, "a"), clips_of(12, 4, "b")
    tokens = tokens_of(train + test, False)
    codes = {clip.name: tokens.codes(clip) // torch.tensor([[1], [4]]) for clip in train + test}
    uneven = TokenTable(codes, 50.0, 16)
    uneven.codebook_sizes = (16, 4)
    found = ask(uneven, test, train).measure("unigram_bits_per_frame", "1-2")
    assert found.baseline == 6 and 5.9 < found.value < 6.3


def test_a_model_s_codebooks_have_their_own_sizes():
    config = dataclasses.replace(make_tiny_model().config, quantizer={"type": "rvq", "sizes": [16, 4]})
    tokens = ModelTokens(codec.Codec(config))
    assert (tokens.codebook_size, tokens.codebook_sizes) == (16, (16, 4))


def test_the_probe_counts_no_tested_speaker():
    clips = clips_of(4, 2, "a")
    with pytest.raises(CodecError, match="probe_train"):
        ask(tokens_of(clips, True), clips, clips)


def code_streams(count, seed):
    """Codebook 0 counts up, codebook 1 is what codebook 0 says in the same frame, codebook 2 is noise."""
    rng, clips = np.random.default_rng(seed), []
    for _ in range(count):
        first = (np.arange(50) + rng.integers(8)) % 8
        clips.append(torch.from_numpy(np.stack([first, (3 * first + 1) % 8, rng.integers(8, size=50)])))
    return clips


def test_the_language_model_learns_what_there_is_to_learn():
    config = TokenLmConfig(steps=150, batch_size=4, frames=32, hidden=32, learning_rate=1e-2, deep_share=0.5)
    before = torch.get_rng_state()
    models = [train_token_lm(config, code_streams(40, 0), 8, seed=0) for _ in range(2)]
    assert torch.get_rng_state().equal(before)
    test = code_streams(10, 1)
    bits = np.mean([models[0].bits(codes) for codes in test], axis=0) / 50
    # The first code of a clip costs 3 bits, 0.06 a frame; what the codebook before says costs none, noise all.
    assert bits[0] < 0.3 and bits[1] < 0.3 and 2.8 < bits[2] < 3.4
    assert (models[1].bits(test[0]) == models[0].bits(test[0])).all()


def test_no_frame_of_the_language_model_knows_what_comes_later():
    config = TokenLmConfig(steps=3, batch_size=2, frames=16, hidden=16)
    model = train_token_lm(config, code_streams(4, 0), 8, seed=0)
    codes, frames = code_streams(1, 2)[0], []
    for changed in (codes, torch.cat([codes[:, :20], (codes[:, 20:] + 3) % 8], dim=1)):
        before = torch.nn.functional.pad(changed[:, :-1], (1, 0), value=8)
        frames.append(torch.stack(list(model.costs(before[None], changed[None]))))
    assert frames[0][:, :20].equal(frames[1][:, :20]) and not frames[0][:, 20:].equal(frames[1][:, 20:])
    # Costs of a frame add up over its codebooks: the first knows none of the others.
    swapped = codes.clone()
    swapped[1, 7] = (swapped[1, 7] + 1) % 8
    before = torch.nn.functional.pad(codes[:, :-1], (1, 0), value=8)
    costs = [torch.stack(list(model.costs(before[None], one[None])))[:, 7] for one in (codes, swapped)]
    assert costs[0][0] == costs[1][0] and costs[0][1] != costs[1][1] and costs[0][2] != costs[1][2]


def test_the_budget_of_the_language_model_is_in_the_result():
    train, test = clips_of(30, 10, "a"), clips_of(12, 4, "b")
    found = ask(tokens_of(train + test, True), test, train)
    assert "the language model saw 24000 frames in 60 steps, 13 times all" in found.notes[0]
    assert found.measure("lm_bits_per_frame").value < 4 and found.settings["model"]["steps"] == 60
    with pytest.raises(CodecError, match="deep_share"):
        TokenLmConfig(deep_share=0.0)
