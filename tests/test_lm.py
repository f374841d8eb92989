"""Language models on tokens: all kinds learn, resume, are measured, and speak from their first frame on."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers
from corpora_tools import make_corpus, write_clips

import codec
from codec import CodecError
from codec.cli import main
from codec.lm.base import Request
from codec.lm.characters import Characters
from codec.lm.config import LmConfig, LoraConfig, OptimConfig, SamplingConfig, SizeConfig
from codec.lm.generate import GenerateConfig, check_codec, generate, speak
from codec.lm.models import build_lm, load_lm, save_lm
from codec.lm.pieces import read_pieces
from codec.lm.train import train

SIZE = SizeConfig(dim=16, layers=1, heads=2, feed_forward=16)
GREEDY = SamplingConfig(temperature=0)
KINDS = {
    "flat": {"codebooks": 2},
    "delay": {"codebooks": 3, "layout": "delay"},
    "tts": {"codebooks": 3, "task": "tts"},
}


@pytest.fixture(scope="module")
def corpus(tiny_model_dir, tmp_path_factory):
    """Six clips of speech, all with text."""
    folder = tmp_path_factory.mktemp("lm")
    for number, path in enumerate(write_clips(folder / "clips", (0.3, 0.5, 0.7, 0.4, 0.6, 0.2))):
        path.with_suffix(".txt").write_text(f"say {'abc'[number % 3]} now\n")
    return make_corpus(folder / "corpus", tiny_model_dir, folder / "clips", shard_clips=6)


def config_of(corpus, output, model, **settings):
    values = {
        "corpus": str(corpus),
        "output": str(output),
        "codec": str(model),
        "size": SIZE,
        "optim": OptimConfig(lr=1e-2, warmup_steps=1, batch_size=2),
        "max_frames": 40,
        "held_out": 0.34,
        "max_steps": 4,
        "save_every": 2,
        "device": "cpu",
    }
    return LmConfig(**(values | settings))


@pytest.fixture(scope="module", params=KINDS)
def lm(request, corpus, tiny_model_dir, tmp_path_factory):
    """An untrained model of each kind that was saved and read, with its pieces."""
    config = config_of(corpus, tmp_path_factory.mktemp("none"), tiny_model_dir, **KINDS[request.param])
    pieces = read_pieces(config)
    torch.manual_seed(0)
    built = build_lm(config, pieces)
    save_lm(built, config, Path(config.output) / "export")
    loaded, _ = load_lm(Path(config.output) / "export")
    return loaded, built, pieces


def request_of(lm, prompt=None, **settings):
    empty = torch.zeros(lm.layout.num_codebooks, 0, dtype=torch.int64)
    text = "say a" if lm.kind == "tts" else None
    values = {"prompt": empty if prompt is None else prompt, "text": text, "prompt_text": None, "max_frames": 6}
    return Request(**(values | {"window": 1, "sampling": GREEDY, "seed": 0} | settings))


def test_a_saved_model_measures_as_it_was_and_batches_as_single_pieces(lm):
    loaded, built, pieces = lm
    built.module.eval()
    bits = loaded.bits(pieces.test)
    assert bits.shape == (len(pieces.test), loaded.layout.num_codebooks)
    assert torch.allclose(bits, built.bits(pieces.test))
    alone = torch.cat([loaded.bits([piece]) for piece in pieces.test])
    assert torch.allclose(bits, alone, rtol=1e-4)
    # An untrained model knows next to nothing: about 10 bits a code.
    frames = torch.tensor([piece.codes.shape[1] for piece in pieces.test])
    assert ((bits / frames.unsqueeze(1) - 10).abs() < 1.5).all()


def test_gradients_reach_the_codes_and_the_text_but_no_padding(lm):
    _, built, pieces = lm
    pair = sorted(pieces.train, key=lambda piece: piece.codes.shape[1])[:: len(pieces.train) - 1]
    assert pair[0].codes.shape[1] < pair[1].codes.shape[1]
    torch.manual_seed(1)
    built.module.zero_grad()
    built.module(**built.collate(pair))["loss"].backward()
    (table,) = [w.grad for name, w in built.module.named_parameters() if name.endswith("embed_tokens.weight")]
    layout = getattr(built, "semantic", built.layout)
    for piece in pair:
        for number in layout.ids.base + piece.codes[0, :-1]:
            assert table[number].abs().sum() > 0
    assert table[layout.ids.specials["pad"]].abs().sum() == 0
    if built.kind == "tts":
        assert (table[layout.size :].abs().sum(1) > 0).sum() == len(set("".join(piece.text for piece in pair)))
    built.module.zero_grad()


def test_speech_is_drawn_one_way_whether_prompted_or_not(lm):
    """Greedy frames after a prompt of the model's own first frames are its next ones."""
    loaded, _, _ = lm
    if loaded.kind == "tts":
        pytest.skip("its prompt is another utterance")
    whole = list(loaded.frames(request_of(loaded)))
    if len(whole) < 4:
        pytest.skip("ended early")
    start = torch.cat(whole[:3], dim=1)
    rest = list(loaded.frames(request_of(loaded, start, max_frames=3)))
    lags = getattr(loaded.layout, "lags", (0,))
    assert len(rest) == 3 or len(rest) == len(whole) - 3
    if max(lags) == 0:
        assert torch.equal(torch.cat(rest, dim=1), torch.cat(whole[3:6], dim=1))
    # Codebook 1 has no lag, so that it goes on alike in every layout with a known past.
    assert all(frame.shape == (loaded.layout.num_codebooks, 1) for frame in rest)


class Counting:
    """Frames of a model, counted as they are asked for."""

    def __init__(self, lm):
        self.lm, self.asked, self.codes = lm, 0, []

    def frames(self, request):
        for frame in self.lm.frames(request):
            self.asked += 1
            self.codes.append(frame)
            yield frame


def test_audio_is_out_after_the_first_frame_and_is_that_of_the_codec(lm, tiny_model):
    loaded, _, _ = lm
    counting, pieces, after = Counting(loaded), [], []
    for piece in speak(counting, tiny_model, request_of(loaded)):
        pieces.append(piece)
        after.append(counting.asked)
    assert counting.asked >= 1 and after[0] <= 1 + tiny_model.decoder.delay // tiny_model.hop_length
    codes = torch.cat(counting.codes, dim=1)
    assert torch.allclose(torch.cat(pieces), tiny_model.decode(codes)[0], atol=1e-5)


def test_new_audio_joins_the_prompt(lm, tiny_model):
    loaded, _, _ = lm
    prompt = torch.randint(1024, (loaded.layout.num_codebooks, 5), generator=torch.Generator().manual_seed(3))
    counting = Counting(loaded)
    spoken = torch.cat(list(speak(counting, tiny_model, request_of(loaded, prompt))))
    whole = tiny_model.decode(torch.cat([prompt, *counting.codes], dim=1))[0]
    assert torch.allclose(spoken, whole[5 * tiny_model.hop_length :], atol=1e-5)


class StopAt(transformers.TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.step


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_equals_one_that_was_not_stopped(kind, corpus, tiny_model_dir, tmp_path):
    whole = train(config_of(corpus, tmp_path / "whole", tiny_model_dir, **KINDS[kind]))
    config = config_of(corpus, tmp_path / "parts", tiny_model_dir, **KINDS[kind])
    assert train(config, [StopAt(2)]).report is None
    with pytest.raises(CodecError, match="give --resume"):
        train(config)
    with pytest.raises(CodecError, match="was begun with seed 0, now it is 1"):
        train(dataclasses.replace(config, resume=True, seed=1))
    resumed = train(dataclasses.replace(config, resume=True))
    weights = whole.lm.module.state_dict()
    for name, weight in resumed.lm.module.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    bits = resumed.report["bits_per_frame"]
    assert bits == whole.report["bits_per_frame"]
    assert list(bits) == ["unigram", "bigram", "4-gram", "lm"]
    layers = KINDS[kind]["codebooks"]
    assert all(len(found["by_codebook"]) == layers for found in bits.values())
    assert all(found["value"] == pytest.approx(sum(found["by_codebook"])) for found in bits.values())
    assert json.loads((tmp_path / "parts" / "report.json").read_text())["test"] == resumed.report["test"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny Llama with a tokenizer of six words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("base")
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<unk>", "say", "a", "b", "c", "now"])}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)
    settings = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=6, **settings)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("rank", [0, 2])
def test_an_existing_model_learns_to_speak(rank, base, corpus, tiny_model_dir, tmp_path):
    if rank:
        pytest.importorskip("peft")
    lora = LoraConfig(rank=rank, modules=("q_proj",))
    config = config_of(corpus, tmp_path, tiny_model_dir, base=str(base), lora=lora, codebooks=1, task="tts", max_steps=2)
    trained = train(config)
    loaded, _ = load_lm(trained.export)
    assert loaded.layout.vocab.base == 6 and loaded.reads_text
    before = transformers.AutoModelForCausalLM.from_pretrained(base).state_dict()
    after = loaded.module.state_dict()
    changed = {name for name, weight in before.items() if not torch.equal(weight, after[name][: len(weight)])}
    assert "model.layers.0.self_attn.q_proj.weight" in changed
    assert ("model.layers.0.self_attn.k_proj.weight" in changed) == (rank == 0)
    seconds = generate(
        GenerateConfig(model=str(trained.export), text="say b now", max_seconds=0.2, sampling=GREEDY), tmp_path / "out.wav"
    )
    assert seconds <= 0.2 and soundfile.info(tmp_path / "out.wav").samplerate == 16_000


def test_the_command_line_trains_and_speaks(corpus, tiny_model_dir, tmp_path, speech_file, capsys):
    small = "size.dim=16 size.layers=1 size.heads=2 size.feed_forward=16 max_steps=1 max_frames=40 device=cpu held_out=0.34"
    given = [f"corpus={corpus}", f"output={tmp_path / 'run'}", f"codec={tiny_model_dir}", *small.split()]
    assert main(["lm", "train", "tiny", *given]) == 0
    assert "lm: " in capsys.readouterr().out
    export = str(tmp_path / "run" / "export")
    out = tmp_path / "out.wav"
    assert main(["lm", "generate", "--model", export, "--prompt", str(speech_file), "--max-seconds", "0.1", str(out)]) == 0
    assert 0 < soundfile.info(out).frames <= 1600
    assert main(["lm", "generate", "--model", export, "--text", "a", str(out)]) == 1
    assert "out.wav: exists already; pass --overwrite" in capsys.readouterr().err
    assert main(["lm", "generate", "--model", export, "--text", "a", "--overwrite", str(out)]) == 1
    assert "reads no text" in capsys.readouterr().err


def test_a_model_of_another_codec_is_refused(lm, other_model_dir):
    with pytest.raises(CodecError, match="give its codec"):
        check_codec(lm[0], codec.load(other_model_dir))


def test_what_a_corpus_may_lack(corpus, tiny_model_dir, tmp_path):
    quiet = write_clips(tmp_path / "clips", (0.3, 0.4))
    quiet[0].with_suffix(".txt").unlink(missing_ok=True)
    textless = make_corpus(tmp_path / "textless", tiny_model_dir, tmp_path / "clips")
    with pytest.raises(CodecError, match="no clip has text"):
        read_pieces(config_of(textless, tmp_path, tiny_model_dir, task="tts"))
    with pytest.raises(CodecError, match="raise max_frames"):
        read_pieces(config_of(corpus, tmp_path, tiny_model_dir, task="tts", max_frames=3))
    write_clips(tmp_path / "one", (0.3,))
    with pytest.raises(CodecError, match="too few"):
        read_pieces(config_of(make_corpus(tmp_path / "few", tiny_model_dir, tmp_path / "one"), tmp_path, tiny_model_dir))
    with pytest.raises(CodecError, match="must be 1 to 8"):
        read_pieces(config_of(corpus, tmp_path, tiny_model_dir, codebooks=9))
    with pytest.raises(CodecError, match="no plan|codec tokenize"):
        read_pieces(config_of(tmp_path / "nowhere", tmp_path, tiny_model_dir))


def test_a_test_corpus_of_another_codec_is_refused(corpus, other_model_dir, tiny_model_dir, tmp_path):
    write_clips(tmp_path / "clips", (0.3, 0.4))
    other = make_corpus(tmp_path / "other", other_model_dir, tmp_path / "clips")
    with pytest.raises(CodecError, match="the vocabulary is of codec"):
        read_pieces(config_of(corpus, tmp_path, tiny_model_dir, test_corpus=str(other)))


def test_codes_out_of_range_are_refused(corpus, tiny_model_dir, tmp_path, monkeypatch):
    from codec.lm import pieces

    rows = list(pieces._rows(str(corpus), 2))
    bad = dataclasses.replace(rows[0], codes=np.full((2, 4), 1024, np.uint16))
    monkeypatch.setattr(pieces, "_rows", lambda *_: iter([bad, *rows[1:]]))
    with pytest.raises(CodecError, match="out of range; codes of codebook 0 lie in 0..1023"):
        read_pieces(config_of(corpus, tmp_path, tiny_model_dir, codebooks=2))


def test_characters_are_those_that_were_learned():
    known = Characters.of(["Say  A\n", "no"])
    assert known.known == " anosy"
    assert known.encode("SAY no").tolist() == [4, 1, 5, 0, 2, 3]
    for text, message in (("zoo", "never read 'z'"), (" ", "is empty")):
        with pytest.raises(CodecError, match=message):
            known.encode(text)


def test_pieces_are_cut_and_held_out_by_clip(corpus, tiny_model_dir, tmp_path):
    config = config_of(corpus, tmp_path, tiny_model_dir, codebooks=1, max_frames=7)
    pieces = read_pieces(config)
    assert not {piece.clip for piece in pieces.train} & {piece.clip for piece in pieces.test}
    whole = {p.clip: p for p in read_pieces(dataclasses.replace(config, max_frames=1000)).train}
    for clip, piece in whole.items():
        parts = [part for part in pieces.train if part.clip == clip]
        assert torch.equal(torch.cat([part.codes for part in parts], dim=1), piece.codes)
        assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
