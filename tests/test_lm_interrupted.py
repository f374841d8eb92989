"""Runs of language models that were killed, texts that a model cannot read, and bases whose tables are tied."""

import dataclasses
import json
import math
import shutil

import pytest
import torch
import transformers
from corpora_tools import make_corpus, write_clips
from safetensors.torch import load_file
from test_lm import GREEDY, KINDS, SIZE, StopAt, base, config_of, corpus  # noqa: F401 (fixtures)
from test_lm_speech import Ears, lm_of

from codec import CodecError
from codec.lm.aligned import AlignedLm
from codec.lm.base import draw, load_weights
from codec.lm.characters import Characters
from codec.lm.config import LoraConfig, OptimConfig, SamplingConfig
from codec.lm.generate import GenerateConfig
from codec.lm.models import build_lm, load_lm
from codec.lm.pieces import Piece, read_pieces
from codec.lm.score import ScoreConfig, score
from codec.lm.train import find_checkpoint, train
from codec.tokens.layouts import AudioVocab, SemanticFirst


def weights_of(trained):
    return {name: weight.clone() for name, weight in trained.lm.module.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("lost", ["trainer_state.json", "all but the model", "half of trainer_state.json"])
def test_a_checkpoint_that_a_kill_left_unfinished_is_passed_over(lost, corpus, tiny_model_dir, tmp_path, capsys):  # noqa: F811
    config = config_of(corpus, tmp_path / "run", tiny_model_dir, **KINDS["flat"], measure_every=1)
    whole = train(dataclasses.replace(config, output=str(tmp_path / "whole")))
    train(config)
    newest = tmp_path / "run" / "checkpoint-4"
    state = newest / "trainer_state.json"
    if lost == "trainer_state.json":
        state.unlink()
    elif lost == "half of trainer_state.json":
        state.write_text(state.read_text()[:100])
    else:
        for path in newest.iterdir():
            if path.name != "model.safetensors":
                path.unlink()
    resume = dataclasses.replace(config, resume=True)
    assert find_checkpoint(resume) == str(tmp_path / "run" / "checkpoint-2")
    assert "checkpoint-4: was not finished and is passed over" in capsys.readouterr().err.replace("\n", "")
    assert same(weights_of(train(resume)), weights_of(whole))
    # Steps that were made again are there once.
    curve = (tmp_path / "run" / "curve.jsonl").read_text()
    assert [json.loads(line)["step"] for line in curve.splitlines()] == [1, 2, 3, 4]
    assert curve == (tmp_path / "whole" / "curve.jsonl").read_text()


def test_a_first_checkpoint_that_was_not_finished_does_not_stand_in_the_way(corpus, tiny_model_dir, tmp_path):  # noqa: F811
    config = config_of(corpus, tmp_path / "run", tiny_model_dir, **KINDS["flat"])
    (tmp_path / "run" / "checkpoint-2").mkdir(parents=True)
    (tmp_path / "run" / "checkpoint-2" / "model.safetensors").write_bytes(b"")
    (tmp_path / "run" / "curve.jsonl").write_text('{"step": 1}\n{"st')
    with pytest.raises(CodecError, match="no checkpoint to resume from"):
        train(dataclasses.replace(config, resume=True))
    assert train(config).report is not None


def pieces_with(*texts):
    generator = torch.Generator().manual_seed(0)
    return [Piece("same", "s", torch.randint(8, (1, 12), generator=generator), text, True) for text in texts]


def test_an_aligner_that_a_killed_run_left_is_that_runs_own(tmp_path):
    """Without --resume a run has the weights that it has in an empty folder."""
    layout = SemanticFirst(AudioVocab("0" * 16, 16_000, 320, (8,)))

    def costs(folder, texts, resume=False):
        lm = AlignedLm.build(SIZE, layout, Characters.of(texts), pieces_with(*texts), folder, resume)
        return lm.aligner.costs

    before = costs(tmp_path / "run", ["ab ba", "cab"])
    after = costs(tmp_path / "run", ["zy yz", "xzy"])
    assert torch.equal(after, costs(tmp_path / "empty", ["zy yz", "xzy"]))
    assert torch.equal(costs(tmp_path / "run", ["zy yz", "xzy"], resume=True), after)
    assert not torch.equal(after, before)
    with pytest.raises(CodecError, match="of other symbols"):
        costs(tmp_path / "run", ["abcdefg", "hi"], resume=True)


def test_times_of_symbols_do_not_depend_on_clips_before_of_the_same_name():
    first, second = pieces_with("ab ba b", "ba")
    alone, lm = lm_of("ab"), lm_of("ab")
    lm.bits([first])
    assert torch.equal(lm.bits([second]), alone.bits([second]))


@pytest.fixture
def strange(tmp_path, tiny_model_dir):
    """A corpus of three texts, of which one has letters that no other corpus here has."""
    for path, text in zip(write_clips(tmp_path / "strange", (0.3, 0.4, 0.5)), ("say a", "привет", "say b é"), strict=True):
        path.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
    return make_corpus(tmp_path / "corpus", tiny_model_dir, tmp_path / "strange")


@pytest.mark.parametrize("kind", ["tts", "aligned"])
def test_texts_that_cannot_be_read_are_left_out_of_the_measurement(kind, corpus, strange, tiny_model_dir, tmp_path):  # noqa: F811
    config = config_of(corpus, tmp_path / "run", tiny_model_dir, **KINDS[kind], test_corpus=str(strange), measure_every=2)
    report = train(config).report
    assert report["test"]["clips"] == 2 and report["left_out_clips"] == 1
    assert math.isfinite(report["bits_per_frame"]["lm"]["value"])


def test_a_measurement_that_fails_does_not_cost_the_model(corpus, tiny_model_dir, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("codec.lm.train.measure", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(config_of(corpus, tmp_path, tiny_model_dir, **KINDS["flat"]))
    load_lm(tmp_path / "export")


def test_scores_are_of_the_texts_that_can_be_read(corpus, strange, tiny_model_dir, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr("codec.lm.score._measures", lambda asr: [Ears()])
    train(config_of(corpus, tmp_path / "run", tiny_model_dir, **KINDS["tts"]))
    config = ScoreConfig(run=str(tmp_path / "run"), corpus=str(strange), clips=3)
    with pytest.raises(CodecError, match="fewer than two clips have texts that the model can read"):
        score(config, tmp_path / "out")
    assert "2 clips left out" in capsys.readouterr().err
    shutil.copytree(tmp_path / "strange", tmp_path / "more")
    (extra,) = [path for path in (tmp_path / "more").rglob("*.txt") if "é" in path.read_text(encoding="utf-8")]
    extra.write_text("say c now\n")
    more = make_corpus(tmp_path / "more_corpus", tiny_model_dir, tmp_path / "more")
    report = score(dataclasses.replace(config, corpus=str(more)), tmp_path / "out")
    assert sorted(row["text"] for row in report["by_text"]) == ["say a", "say c now"]


@pytest.fixture(scope="module")
def tied_base(base, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("tied") / "base"
    shutil.copytree(base, folder)
    settings = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tied = transformers.LlamaConfig(vocab_size=6, tie_word_embeddings=True, **settings)
    transformers.LlamaForCausalLM(tied).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("rank", [0, 2])
def test_a_base_with_tied_tables_learns_to_say_the_new_ids(rank, tied_base, corpus, tiny_model_dir, tmp_path):  # noqa: F811
    pytest.importorskip("peft")
    config = config_of(
        corpus, tmp_path / "whole", tiny_model_dir, base=str(tied_base), codebooks=1,
        lora=LoraConfig(rank=rank, modules=("q_proj",)), optim=OptimConfig(lr=1e-2, warmup_steps=0, batch_size=2),
    )  # fmt: skip
    fresh = build_lm(dataclasses.replace(config, lora=LoraConfig(rank=0)), read_pieces(config)).module
    before = fresh.get_output_embeddings().weight.detach().clone()
    loaded, _ = load_lm(train(config).export)
    after = loaded.module.get_output_embeddings().weight
    assert after is loaded.module.get_input_embeddings().weight
    assert (after != before)[6:].any(dim=1).float().mean() > 0.5
    parts = dataclasses.replace(config, output=str(tmp_path / "parts"))
    train(parts, [StopAt(2)])
    resumed, _ = load_lm(train(dataclasses.replace(parts, resume=True)).export)
    assert same(resumed.module.state_dict(), loaded.module.state_dict())


def test_damaged_weights_are_named_in_one_line(tmp_path):
    lm = lm_of("ab")
    lm.save(tmp_path)
    for name in ("model.safetensors", "aligner.safetensors"):
        whole = (tmp_path / name).read_bytes()
        assert load_file(tmp_path / name)
        for damaged in (whole[: len(whole) // 2], b"", b"\xff" * 40):
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(CodecError, match=f"{name}: cannot be read"):
                AlignedLm.load(tmp_path, SIZE, lm.layout, lm.characters)
        (tmp_path / name).write_bytes(whole)
    with pytest.raises(CodecError, match="do not fit"):
        load_weights(torch.nn.Linear(1, 1), tmp_path)


@pytest.mark.parametrize("temperature", [0, 1e-300, 1e-40, 1e-6])
def test_hardly_any_temperature_draws_the_most_probable(temperature):
    logits = torch.tensor([0.1, 3.0, 2.9, -1.0])
    generator = torch.Generator().manual_seed(0)
    assert {draw(logits, SamplingConfig(temperature=temperature), generator) for _ in range(20)} == {1}


def test_settings_that_never_end_are_refused():
    for wrong in (math.nan, math.inf, -1.0):
        with pytest.raises(CodecError, match="temperature"):
            dataclasses.replace(GREEDY, temperature=wrong)
        with pytest.raises(CodecError, match="max_seconds"):
            GenerateConfig(max_seconds=wrong)
