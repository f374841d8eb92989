"""The server with models of every causal kind, and with those whose codes it has no room for."""

import json

import numpy as np
import pytest

pytest.importorskip("websockets", reason="needs the package websockets")

from command import run
from conftest import TINY_CONFIG, make_tiny_model
from seanet_models import CAUSAL, CAUSAL_LSTM, make_seanet
from serve_client import (
    connected,
    decoded,
    encoded,
    receive,
    send_and_receive,
    speech,
    stream,
    with_server,
)

import codec
from codec import CodecError
from codec.config import from_dict
from codec.model.config import CodecConfig
from codec.serve.channel import Channel
from codec.serve.config import ServeConfig
from codec.serve.protocol import codes_message, parse_output
from codec.serve.server import Server

MIMI = {
    "architecture": "mimi",
    "sample_rate": 16_000,
    "network": {
        "n_filters": 4,
        "strides": [5, 4],
        "latent_dim": 8,
        "layers": 2,
        "heads": 2,
        "head_dim": 4,
        "feedforward_dim": 16,
        "window": 5,
    },
    "quantizer": {"type": "split_rvq", "sizes": [16, 8, 8], "dim": 6},
}


def make_mimi() -> codec.Codec:
    model = codec.Codec(from_dict(CodecConfig, MIMI)).eval().requires_grad_(False)
    for tensor in model.state_dict().values():
        if tensor.ndim > 1:
            tensor.normal_(std=tensor[0].numel() ** -0.5)
    return model


MODELS = {
    "spectral": make_tiny_model,
    "spectral that looks ahead": lambda: make_tiny_model(look_ahead=2),
    "seanet": lambda: make_seanet(CAUSAL),
    "seanet with an LSTM": lambda: make_seanet(CAUSAL_LSTM),
    "seanet with edges of zeros": lambda: make_seanet(CAUSAL | {"edges": "zeros"}),
    "seanet with mirrored edges": lambda: make_seanet(CAUSAL | {"edges": "mirror"}),
    "mimi": make_mimi,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("is_late", [False, True])
def test_codes_with_their_samples_become_the_models_sound(name, is_late, monkeypatch):
    """Whether the end comes before the last frame is decoded or, ``is_late``, after it."""
    model, frames, ready = MODELS[name](), 12, Channel.ready
    hop = model.hop_length
    if not is_late:
        monkeypatch.setattr(Channel, "ready", lambda self, now: ready(self, now) if self._ending else None)

    async def decode(server, codes: np.ndarray, num_samples: int):
        """Audio that came before the end, and what came after it."""
        early = np.zeros(0, np.int16)
        async with connected(server, mode="decode", fingerprint=model.fingerprint) as link:
            assert json.loads(await link.recv())["type"] == "ready"
            await link.send(codes_message(codes, 0))
            while is_late and len(early) < frames * hop - model.decoder.delay:
                early = np.concatenate([early, parse_output(await link.recv())[2]])
            await link.send(json.dumps({"type": "end", "num_samples": num_samples}))
            return early, await receive(link, first=len(early))

    async def test(server):
        for num_samples in (frames * hop, frames * hop - 1, frames * hop - hop + 1):
            codes = encoded(model, speech(1)[:num_samples])
            early, result = await decode(server, codes, num_samples)
            assert result.ended == {"type": "ended", "frames": frames, "num_samples": num_samples}
            wav = np.concatenate([early, result.wav])
            assert len(wav) == max(len(early), num_samples)
            assert np.abs(wav[:num_samples] - decoded(model, codes, num_samples)).max() <= 0.51

    with_server(model, test, max_clients=2)


@pytest.mark.parametrize("name", MODELS)
def test_the_least_room_serves_every_model(name):
    """Also where a model needs several frames to begin, and where it hands out a frame after the next."""
    model = MODELS[name]()
    pcm = speech(1)[: 12 * model.hop_length - 7]
    codes = encoded(model, pcm)
    frames = [codes_message(codes[:, i : i + 1], i) for i in range(codes.shape[1])]

    async def test(server):
        for mode in ("encode", "both"):
            result = await stream(server, pcm, [model.hop_length // 2], mode=mode)
            assert result.error is None and np.array_equal(result.codes, codes)
        end = {"type": "end", "num_samples": len(pcm)}
        start = {"mode": "decode", "fingerprint": model.fingerprint}
        result = await send_and_receive(server, [*frames, end], **start)
        assert result.ended["num_samples"] == len(pcm)
        assert np.abs(result.wav[: len(pcm)] - decoded(model, codes, len(pcm))).max() <= 0.51

    with_server(model, test, max_clients=2, input_seconds=1e-9, idle_seconds=20.0)


def with_quantizer(quantizer: dict) -> codec.Codec:
    model = codec.Codec(from_dict(CodecConfig, TINY_CONFIG | {"quantizer": quantizer}))
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("quantizer", "message"),
    [
        ({"type": "fsq", "levels": [8] * 6}, "a codebook of 262144 entries; .* codes of 65536"),
        ({"num_codebooks": 256, "codebook_size": 2}, "256 codebooks; .* room for 255"),
    ],
)
def test_a_model_whose_codes_have_no_room_is_refused_before_the_server_listens(
    quantizer, message, tmp_path, capfd
):
    model = with_quantizer(quantizer)
    with pytest.raises(CodecError, match=message):
        Server(model, ServeConfig(port=0))
    codec.save(model, tmp_path / "model")
    result = run(capfd, "serve", "--port", 0, "-m", tmp_path / "model")
    assert result.status == 1 and "serve another model" in result.error_lines[-1]


def test_codes_of_65536_entries_have_room():
    model = with_quantizer({"type": "fsq", "levels": [8, 8, 8, 8, 16]})
    model.quantizer.input.weight.mul_(20)
    pcm = speech(0.2)
    codes = encoded(model, pcm)
    assert model.quantizer.sizes == (65_536,) and codes.max() > 32_767

    async def test(server):
        assert np.array_equal((await stream(server, pcm, [320], mode="both")).codes, codes)

    with_server(model, test, max_clients=2)


def test_255_codebooks_have_room():
    model = with_quantizer({"num_codebooks": 255, "codebook_size": 2})
    pcm = speech(0.1)

    async def test(server):
        assert np.array_equal((await stream(server, pcm, [320], mode="encode")).codes, encoded(model, pcm))

    with_server(model, test, max_clients=2)
