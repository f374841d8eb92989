"""What a GPU must hold to: lengths, codes, CUDA graphs, saved streams and training."""

import json
from pathlib import Path

import pytest
import torch
from conftest import make_speech, make_tiny_model
from seanet_models import CAUSAL, CAUSAL_LSTM, make_seanet
from streams import stream_many, stream_one
from test_discriminators import TINY as DISCRIMINATORS
from training_runs import run_config, write_corpus

import codec
from codec.bench.agreement import bundled_clip, variants
from codec.engines.graph import GraphEngine
from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.files import load_model
from codec.train.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SPEECH = torch.from_numpy(make_speech(2.0))
AGREEMENT = 0.995
"""Of codes computed in other shapes or elsewhere: rounding may flip near ties, and what follows them."""
MODELS = {
    "spectral": make_tiny_model,
    "seanet": lambda: make_seanet(CAUSAL),
    "seanet with LSTM": lambda: make_seanet(CAUSAL_LSTM),
}


@pytest.fixture(autouse=True)
def float32_throughout():
    """TF32 would round to 10 bits, and training switches it on; ``codec bench agreement`` measures its codes."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cudnn.benchmark, matmul.allow_tf32
    cudnn.allow_tf32 = cudnn.benchmark = matmul.allow_tf32 = False
    yield
    cudnn.allow_tf32, cudnn.benchmark, matmul.allow_tf32 = before


@pytest.fixture(scope="module")
def default() -> Codec:
    return load_model("default", "cuda")


def agreement(codes: torch.Tensor, expected: torch.Tensor) -> float:
    assert codes.shape == expected.shape
    return (codes.cpu() == expected.cpu()).double().mean().item()


def with_graphs(model: Codec) -> Codec:
    model.engine = GraphEngine(model)
    return model


def test_codes_of_the_gpu_are_those_of_the_cpu_and_each_decodes_the_others(default):
    cpu = load_model("default", "cpu")
    assert default.fingerprint == cpu.fingerprint
    for wav in variants(bundled_clip(cpu.sample_rate), 4):
        here, there = cpu.encode(wav), default.encode(wav)
        assert there.codes.device.type == "cpu"
        assert torch.equal(here.num_samples, there.num_samples)
        assert agreement(there.codes, here.codes) > AGREEMENT
        sound = default.decode(here)
        assert sound.shape == (1, len(wav)) and sound.device.type == "cpu"
        torch.testing.assert_close(sound, cpu.decode(here), atol=1e-3, rtol=0)
        assert cpu.decode(there).shape == sound.shape


def test_sound_may_lie_on_the_gpu_already_and_batches_are_padded(default):
    wavs = variants(bundled_clip(default.sample_rate), 3)
    lengths = torch.tensor([len(wav) for wav in wavs])
    batch = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    tokens = default.encode(batch, lengths=lengths)
    assert agreement(default.encode(batch.cuda(), lengths=lengths).codes, tokens.codes) > AGREEMENT
    for index, wav in enumerate(wavs):
        alone = default.encode(wav)
        assert agreement(tokens[index].codes, alone.codes) > AGREEMENT
        assert default.decode(tokens[index]).shape == (1, len(wav))


@pytest.mark.parametrize("graph", [False, True], ids=["torch", "graph"])
@pytest.mark.parametrize("name", MODELS)
def test_streams_have_the_lengths_and_codes_of_the_whole(name, graph):
    model = MODELS[name]().cuda()
    model = with_graphs(model) if graph else model
    hop = model.hop_length
    wav = SPEECH[: 60 * hop + 17]
    tokens = model.encode(wav)
    expected = model.decode(tokens)[0]
    streams = [stream_one(model, wav, sizes) for sizes in ([hop], [1, 5 * hop, hop - 1])]
    queues = [[wav, wav[: 3 * hop]], [wav[hop:]], [wav]]
    (first, short), _, (last,) = stream_many(model, queues, [[hop], [hop // 2, hop], [7 * hop, hop]])
    assert short.codes.shape[1] == 3 and len(short.wav) == 3 * hop
    for streamed in (*streams, first, last):
        assert len(streamed.wav) == len(wav)
        assert agreement(streamed.codes, tokens.codes[0]) > 0.95
        assert torch.isfinite(streamed.wav).all()
        if torch.equal(streamed.codes, tokens.codes[0]):
            torch.testing.assert_close(streamed.wav, expected, atol=1e-3, rtol=0)


def test_streams_of_the_default_model_agree_with_the_whole(default):
    for wav in variants(bundled_clip(default.sample_rate), 2):
        tokens = default.encode(wav)
        streamed = stream_one(default, wav, [default.hop_length])
        assert len(streamed.wav) == len(wav)
        assert agreement(streamed.codes, tokens.codes[0]) > AGREEMENT


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("count", [8, 3])
def test_a_graph_is_the_eager_step(default, batch, count):
    eager, model = load_model("default", "cuda"), with_graphs(load_model("default", "cuda"))
    hop = model.hop_length
    pairs = [(m.streaming_encoder(batch, count), m.streaming_decoder(batch)) for m in (eager, model)]
    wav = torch.stack([bundled_clip(16_000)[9000 + 777 * row :][: 40 * hop] for row in range(batch)])
    same = []
    for turn in range(40):
        if turn == 20:
            for encoder, decoder in pairs:
                mask = torch.arange(batch) == 0
                encoder.reset(mask)
                decoder.reset(mask)
        pcm = wav[:, turn * hop : (turn + 1) * hop]
        codes = [encoder.push(pcm) for encoder, _ in pairs]
        same.append(torch.equal(*codes))
        # The same codes for both, so that sounds can be compared.
        sounds = [decoder.push(codes[0]) for _, decoder in pairs]
        assert sounds[0].shape == sounds[1].shape
        torch.testing.assert_close(*sounds, atol=1e-5, rtol=0)
    assert sum(same) >= 39


def test_streams_move_between_engines_and_devices(default):
    cpu = load_model("default", "cpu")
    models = [default, with_graphs(load_model("default", "cuda")), cpu]
    wav, hop = bundled_clip(16_000)[: 31 * 320], 320
    tokens = cpu.encode(wav)
    codes, sound = [], []
    encoder, decoder = cpu.streaming_encoder(), cpu.streaming_decoder()
    for turn, start in enumerate(range(0, len(wav), hop)):
        if turn % 5 == 4:
            model = models[turn // 5 % 3]
            saved = encoder.state_dict(), decoder.state_dict()
            encoder, decoder = model.streaming_encoder(), model.streaming_decoder()
            encoder.load_state_dict(saved[0])
            decoder.load_state_dict(saved[1])
        codes.append(encoder.push(wav[None, start : start + hop]))
        sound.append(decoder.push(codes[-1]))
    sound.append(decoder.flush(encoder.num_samples))
    assert agreement(torch.cat(codes, dim=2), tokens.codes) > 0.98
    assert torch.cat(sound, dim=1).shape == (1, len(wav))


def test_the_deterministic_mode_is_exact(default):
    wav = bundled_clip(16_000)[:20_000]
    tokens = default.encode(wav, deterministic=True)
    sound = default.decode(tokens, deterministic=True)
    streamed = stream_one(default, wav, [320, 1, 999], deterministic=True)
    assert torch.equal(streamed.codes, tokens.codes[0])
    assert torch.equal(streamed.wav, sound[0])


def test_engines_of_the_gpu_are_chosen_by_name(tiny_model_dir):
    assert codec.load(tiny_model_dir, device="cuda", engine="graph").engine.name == "graph"
    assert codec.load(tiny_model_dir, device="cuda", engine="auto").engine.name == "graph"
    with pytest.raises(CodecError, match="the engine onnx computes on the CPU|no graphs in"):
        codec.load(tiny_model_dir, device="cuda", engine="onnx")


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_training_with_all_discriminators_runs_on_the_gpu(tmp_path, precision):
    manifest = write_corpus(tmp_path / "data")
    config = run_config(
        tmp_path, manifest, precision=precision, discriminators=DISCRIMINATORS, adversary={"start_step": 2}
    )
    trainer = Trainer(config)
    assert trainer.device.type == "cuda"
    result = trainer.run()
    lines = [json.loads(line) for line in Path(config.output, "log.jsonl").read_text().splitlines()]
    assert result.step == config.max_steps == lines[-1]["step"]
    assert all(torch.isfinite(torch.tensor(line["total"])) for line in lines)
    assert {"adversarial", "feature_matching", "discriminator"} <= lines[-1].keys()
    model = codec.load(result.export, device="cuda")
    wav = torch.from_numpy(make_speech(0.5))
    assert model.decode(model.encode(wav)).shape == (1, len(wav))
