"""Text to speech that follows its text: symbols, their times, what the first stage sees, and the figures of what it says."""

import dataclasses
import itertools
import json

import pytest
import torch
from corpora_tools import make_corpus, write_clips
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import CodecError
from codec.cli import main
from codec.lm.aligned import AlignedLm
from codec.lm.alignment import Aligner, even
from codec.lm.characters import Characters
from codec.lm.config import LmConfig, OptimConfig, SamplingConfig, SizeConfig
from codec.lm.phones import PAUSES, Phones, reads, spell
from codec.lm.pieces import Piece
from codec.lm.score import ScoreConfig, read_settings, score
from codec.lm.train import train
from codec.tokens.layouts import AudioVocab, SemanticFirst

SIZE = SizeConfig(dim=16, layers=1, heads=2, feed_forward=16)
WORDS = st.lists(st.sampled_from(["ab", "c", "ba", "abc"]), min_size=1, max_size=4)


@given(WORDS, st.integers(0, 30), st.integers(0, 2**31 - 1))
@settings(deadline=None, max_examples=40)
def test_times_add_up_and_every_letter_has_its_frame(words, more, seed):
    known = Characters.of(["abc ab"])
    text = known.encode(" ".join(words))
    needed = int((~known.optional()[text]).sum())
    generator = torch.Generator().manual_seed(seed)
    aligner = Aligner(torch.rand(len(known), 7, generator=generator), known.optional())
    codes = torch.randint(7, (needed + more,), generator=generator)
    (frames,) = aligner.durations([text], [codes])
    assert int(frames.sum()) == len(codes)
    assert (frames[~known.optional()[text]] > 0).all()
    assert cost(aligner, text, frames, codes) <= cost(aligner, text, fair(text, codes, known), codes) + 1e-4
    (short,) = aligner.durations([text], [codes[: needed - 1]]) if needed > 1 else (torch.zeros(1),)
    assert int(short.sum()) == 0


def fair(text, codes, known):
    """Some times that are allowed: no pauses, and the rest of the frames at the last letter."""
    frames = (~known.optional()[text]).long()
    frames[-1] += len(codes) - frames.sum()
    return frames


def cost(aligner, text, frames, codes):
    return float(aligner.costs[text.repeat_interleave(frames), codes].sum())


def test_times_of_a_batch_are_those_of_single_clips():
    known = Characters.of(["abc ab"])
    texts = [known.encode(text) for text in ("ab c", "a", "cab ab ab")]
    codes = [torch.randint(5, (length,)) for length in (9, 4, 30)]
    aligner = Aligner(torch.rand(len(known), 5), known.optional())
    together = aligner.durations(texts, codes)
    for text, row, frames in zip(texts, codes, together, strict=True):
        assert torch.equal(aligner.durations([text], [row])[0], frames)


def test_the_aligner_finds_who_spoke_each_code():
    """Symbols that always sound alike are found, whatever their lengths."""
    known = Characters.of(["abcd"])
    generator = torch.Generator().manual_seed(0)
    texts, codes, truth = [], [], []
    for _ in range(60):
        text = torch.randperm(4, generator=generator)
        frames = torch.randint(1, 9, (4,), generator=generator)
        texts.append(text)
        truth.append(frames)
        # Each symbol has three codes of its own.
        codes.append(text.repeat_interleave(frames) * 3 + torch.randint(3, (int(frames.sum()),), generator=generator))
    found = Aligner.train(texts, codes, 12, known.optional()).durations(texts, codes)
    wrong = sum(int((a - b).abs().sum()) for a, b in zip(found, truth, strict=True))
    start = sum(int((even(4, len(c)) - b).abs().sum()) for c, b in zip(codes, truth, strict=True))
    assert wrong <= 0.02 * start


def test_phones_spell_words_and_pauses():
    pytest.importorskip("pocketsphinx")
    assert spell("The cat, Qzx!") == [" ", "DH", "AH", " ", "K", "AE", "T", ",", "q", "z", "x", "!"]
    known = Phones.of(["the cat", "act"])
    assert known.known == (" ", "AE", "AH", "DH", "K", "T")
    assert known.optional().tolist() == [True] + [False] * 5
    assert [known.known[i] for i in known.encode("Tact").tolist()] == [" ", "T", "AE", "K", "T", " "]
    for text, message in (("in 1960", "write numbers"), ("dog", "never read")):
        with pytest.raises(CodecError, match=message):
            known.encode(text)
    assert reads("so it is") and not reads("4 of us") and not reads(" . ") and not reads(None)


@given(st.text("ab ,.'-!?1", max_size=20))
def test_pauses_stand_at_both_ends_and_never_in_a_row(text):
    pytest.importorskip("pocketsphinx")
    symbols = spell(text)
    assert symbols[0] in PAUSES and symbols[-1] in PAUSES
    assert not any(a in PAUSES and b in PAUSES for a, b in itertools.pairwise(symbols))


def lm_of(text, codebooks=1):
    known = Characters.of([text])
    vocab = AudioVocab("0" * 16, 16_000, 320, (8,) * codebooks)
    torch.manual_seed(0)
    lm = AlignedLm(SIZE, SemanticFirst(vocab), known, Aligner(torch.rand(len(known), 8), known.optional()))
    lm.module.eval()
    return lm


@given(st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_the_first_stage_draws_the_codes_and_a_next_for_each_symbol(frames):
    lm = lm_of("abc")
    codes = torch.arange(sum(frames)) % 8
    drawn, seen = lm.steps(torch.arange(3), torch.tensor(frames), codes)
    assert drawn[drawn != lm.next].equal(codes)
    assert (drawn == lm.next).sum() == 3 and drawn[-1] == lm.next
    # Column 1 is the place itself, column 0 the symbol before it, 3 stands for none.
    expected = [i for i, count in enumerate(frames) for _ in range(count + 1)]
    assert seen[:, 1].tolist() == expected
    assert seen[:, 0].tolist() == [3 if i == 0 else i - 1 for i in expected]


def request_of(lm, **values):
    from codec.lm.base import Request

    prompt = torch.zeros(lm.layout.num_codebooks, 0, dtype=torch.int64)
    given_ = {"prompt": prompt, "text": "ab a", "prompt_text": None, "max_frames": 1000, "window": 0, "seed": 0}
    return Request(**(given_ | {"sampling": SamplingConfig()} | values))


@pytest.mark.parametrize("seed", range(4))
def test_the_text_is_read_to_its_end_and_nothing_is_skipped(seed):
    lm = lm_of("ab a")
    spoken = [symbol for _, symbol in lm._semantic(request_of(lm, seed=seed))]
    runs = [symbol for i, symbol in enumerate(spoken) if i == 0 or spoken[i - 1] != symbol]
    assert [lm.characters.known[i] for i in runs if lm.characters.known[i] != " "] == ["a", "b", "a"]


def test_what_is_drawn_costs_what_the_model_measures():
    """The steps of generation see what training sees: their logits are those of the whole sequence."""
    lm = lm_of("ab a")
    greedy = request_of(lm, sampling=SamplingConfig(temperature=0), max_frames=40)
    drawn = list(lm._semantic(greedy))
    text = lm.characters.encode("ab a")
    codes = torch.tensor([code for code, _ in drawn])
    spoken = [symbol for _, symbol in drawn]
    assert len(drawn) == 40
    # All of it is said at the first symbol, or moves on: the frames of each symbol tell.
    frames, place = torch.zeros(len(text), dtype=torch.int64), 0
    for symbol in spoken:
        while int(text[place]) != symbol:
            place += 1
        frames[place] += 1
    ids, seen = lm.steps(text, frames, codes)
    ahead = torch.cat([torch.tensor([lm.start]), ids[:-1]])
    logits = lm.module.first(ahead[None], seen[None]).logits[0]
    heard = ids != lm.next
    assert torch.equal(logits[heard][:, : lm.next].argmax(1)[:1], codes[:1])
    agree = (logits[heard][:, : lm.next].argmax(1) == codes).float().mean()
    assert agree == 1


def test_a_prompt_with_its_text_leads(tmp_path):
    lm = lm_of("ab a.", codebooks=2)
    prompt = torch.randint(8, (2, 12))
    text, drawn = lm._given(request_of(lm, prompt=prompt, prompt_text="ab."))
    assert drawn[drawn != lm.next].equal(prompt[0])
    assert (drawn == lm.next).sum() == 3
    assert "".join(lm.characters.known[i] for i in text.tolist()) == "ab.ab a"
    alone, none = lm._given(request_of(lm, prompt=prompt))
    assert len(none) == 0 and len(alone) == 4


def test_the_second_stage_does_not_read_what_a_prompt_says():
    lm = lm_of("ab", codebooks=2)
    codes, seen = torch.randint(8, (1, 2, 6)), torch.ones(1, 6, dtype=torch.bool)
    known = torch.tensor([[True] * 3 + [False] * 3])
    found = []
    for first in (0, 1):
        text = torch.tensor([[first, first, first, 0, 1, 0]])
        found.append(lm.module.nar.logits(text, seen, codes, 1, seen, known))
    assert torch.equal(*found)
    other = lm.module.nar.logits(torch.tensor([[0, 0, 0, 1, 1, 0]]), seen, codes, 1, seen, known)
    assert not torch.equal(found[0], other)


def test_bits_count_codes_and_moves():
    lm = lm_of("ab")
    piece = Piece("x", "s", torch.tensor([[0, 1, 2, 3]]), "ab", True)
    (bits,) = lm.bits([piece])
    drawn, seen = lm.steps(*lm._of(piece), piece.codes[0])
    ahead = torch.cat([torch.tensor([lm.start]), drawn[:-1]])
    logs = lm.module.first(ahead[None], seen[None]).logits[0].double().log_softmax(1)
    assert float(bits) == pytest.approx(-float(logs.detach()[torch.arange(6), drawn].sum()) / 0.6931471805599453)


@pytest.fixture(scope="module")
def run(tiny_model_dir, tmp_path_factory):
    """A run of one step."""
    folder = tmp_path_factory.mktemp("speech")
    for number, path in enumerate(write_clips(folder / "clips", (0.3, 0.5, 0.7, 0.4, 0.6, 0.2))):
        path.with_suffix(".txt").write_text(f"say {'abc'[number % 3]} now\n")
    corpus = make_corpus(folder / "corpus", tiny_model_dir, folder / "clips", shard_clips=6)
    config = LmConfig(
        task="tts", align=True, corpus=str(corpus), output=str(folder / "run"), codec=str(tiny_model_dir), codebooks=2,
        size=SIZE, optim=OptimConfig(batch_size=2), held_out=0.34, max_steps=2, measure_every=1, device="cpu",
    )  # fmt: skip
    train(config)
    return folder, config


def test_a_run_keeps_its_curve_and_its_settings(run):
    folder, config = run
    rows = [json.loads(line) for line in (folder / "run" / "curve.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    report = json.loads((folder / "run" / "report.json").read_text())
    assert rows[-1]["bits_per_frame"] == pytest.approx(report["bits_per_frame"]["lm"]["value"], rel=1e-4)
    kept = read_settings(folder / "run")
    assert kept == dataclasses.replace(config, device="auto", measure_every=0, save_every=kept.save_every)


class Ears:
    """A recogniser that hears the same words in everything."""

    name = "wer"

    def __call__(self, pair):
        assert pair.reference.dtype == pair.output.dtype == "float32"
        words = len(pair.clip.text.split())
        return {"wer": 2 / words, "errors": 2, "reference_words": words}

    def notes(self, pair):
        return {"transcript": "now"}


def test_scores_are_pooled_over_words_and_written(run, tmp_path, monkeypatch, capsys):
    folder, _ = run
    monkeypatch.setattr("codec.lm.score._measures", lambda asr: [Ears()])
    report = score(ScoreConfig(run=str(folder / "run"), clips=2), tmp_path / "out")
    assert report["measures"]["wer"]["model"]["value"] == pytest.approx(2 / 3)
    assert set(report["measures"]["wer"]) == {"model", "original"}
    assert json.loads((tmp_path / "out" / "score.json").read_text())["texts"] == 2
    assert len(list((tmp_path / "out").glob("*.wav"))) == 2
    other = score(ScoreConfig(run=str(folder / "run"), corpus=str(folder / "corpus"), clips=3), tmp_path / "other")
    assert other["texts"] == 3
    assert main(["lm", "score", "--run", str(folder / "run"), "--clips", "2", str(tmp_path / "cli")]) == 0
    assert "wer of model: 0.667" in capsys.readouterr().out


def test_what_cannot_be_scored(run, tmp_path, monkeypatch):
    monkeypatch.setattr("codec.lm.score._measures", lambda asr: [Ears()])
    with pytest.raises(CodecError, match="no run.json"):
        score(ScoreConfig(run=str(tmp_path)), tmp_path / "out")
    with pytest.raises(CodecError, match="clips must be 2"):
        ScoreConfig(clips=1)
    for wrong in ({"align": True}, {"spelling": "phones", "task": "tts"}, {"task": "tts", "align": True, "base": "x"}):
        with pytest.raises(CodecError, match="config (align|spelling)"):
            LmConfig(**wrong)
