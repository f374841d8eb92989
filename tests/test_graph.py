"""The engine of CUDA graphs, as far as it can be tried without a GPU: its steps, played by PyTorch."""

import copy

import pytest
import torch
from conftest import make_speech, make_tiny_model
from seanet_models import CAUSAL, CAUSAL_LSTM, make_seanet
from streams import stream_many

import codec
from codec.engines.graph import GraphEngine
from codec.engines.torch import TorchEngine
from codec.errors import CodecError

SPEECH = torch.from_numpy(make_speech(1.0))
HOP = 320


@pytest.fixture
def graphs(monkeypatch):
    """``graphs(model)`` sets the engine; a recording is the step itself, and counted."""
    recorded = []

    def record(step, device):
        step()
        recorded.append(step)
        return step

    def prepare(model):
        engine = GraphEngine.__new__(GraphEngine)
        engine._torch = TorchEngine(model)
        model.engine = engine
        return recorded

    monkeypatch.setattr("codec.engines.graph.record", record)
    return prepare


def test_slots_that_start_wait_and_end_on_their_own_have_the_codes_of_the_whole(graphs):
    plain = make_tiny_model()
    model = copy.deepcopy(plain)
    recorded = graphs(model)
    queues = [[SPEECH, SPEECH[:5000]], [SPEECH[3000:7001], SPEECH[:333], SPEECH[100:9000]], [SPEECH[:700]]]
    results = stream_many(model, queues, [[HOP], [100, 500, HOP], [7, 640]])
    assert recorded
    for signals, streamed in zip(queues, results, strict=True):
        for wav, result in zip(signals, streamed, strict=True):
            tokens = plain.encode(wav)
            assert torch.equal(result.codes, tokens.codes[0])
            torch.testing.assert_close(result.wav, plain.decode(tokens)[0], atol=1e-5, rtol=0)


def test_a_graph_is_recorded_once_for_a_number_of_codebooks_and_not_for_clips(graphs):
    model = make_tiny_model()
    recorded = graphs(model)
    model.decode(model.encode(SPEECH))
    model.decode(model.encode(SPEECH[:HOP]))
    assert not recorded
    encoder, decoder = model.streaming_encoder(2), model.streaming_decoder(2)
    for _ in range(5):
        codes = encoder.push(torch.stack([SPEECH[:HOP]] * 2))
        decoder.push(codes)
    assert len(recorded) == 2
    for _ in range(3):
        decoder.push(codes[:, :3])
    assert len(recorded) == 3


MODELS = {
    "spectral": make_tiny_model,
    "seanet": lambda: make_seanet(CAUSAL),
    "seanet with LSTM": lambda: make_seanet(CAUSAL_LSTM),
}


@pytest.mark.parametrize("name", MODELS)
def test_long_and_short_steps_resets_and_saved_states_mix(graphs, name):
    plain = MODELS[name]()
    model = copy.deepcopy(plain)
    recorded, hop = graphs(model), model.hop_length
    pieces = [hop, hop, hop, 5 * hop, hop, hop]
    streams = [(m.streaming_encoder(2), m.streaming_decoder(2)) for m in (plain, model)]

    def advance(turn: int) -> None:
        start = turn * 2000
        for size in pieces:
            results = []
            for encoder, decoder in streams:
                pcm = torch.stack([SPEECH[start : start + size], SPEECH[start + 500 : start + 500 + size]])
                codes = encoder.push(pcm)
                results.append((codes, decoder.push(codes)))
            start += size
            assert torch.equal(results[0][0], results[1][0])
            torch.testing.assert_close(results[0][1], results[1][1], atol=1e-5, rtol=0)

    advance(0)
    assert len(recorded) == 2
    for encoder, decoder in streams:
        encoder.reset([True, False])
        decoder.reset([True, False])
    advance(1)
    saved = [[part.state_dict() for part in pair] for pair in streams]
    advance(2)
    for pair, states in zip(streams, saved, strict=True):
        for part, state in zip(pair, states, strict=True):
            part.load_state_dict(state)
    advance(2)
    for encoder, decoder in streams:
        encoder.reset()
        decoder.reset()
    advance(0)


def test_it_needs_a_gpu_and_says_so(tiny_model_dir):
    with pytest.raises(
        CodecError, match="the engine graph needs a CUDA device, the model is on cpu; use torch"
    ):
        codec.load(tiny_model_dir, device="cpu", engine="graph")
