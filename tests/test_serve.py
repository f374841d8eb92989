"""The server: codes and audio as the model's own, whatever other clients do."""

import asyncio
import json
import socket
import struct

import numpy as np
import pytest
import torch

pytest.importorskip("websockets", reason="needs the package websockets")

import websockets
from command import run
from conftest import make_speech
from seanet_models import CAUSAL, make_seanet
from serve_client import (
    connected,
    decoded,
    encoded,
    get,
    metric,
    receive,
    send_and_receive,
    speech,
    stream,
    with_server,
)
from websockets.asyncio.client import connect

from codec import CodecError
from codec.serve.config import ServeConfig
from codec.serve.offer import Agreed, Offer
from codec.serve.protocol import codes_message, parse_output


def check(model, pcm, result, count, sound=True):
    """Codes and audio of a client are those of the model."""
    assert np.array_equal(result.codes, encoded(model, pcm, count))
    assert result.ended["num_samples"] == len(pcm)
    assert result.close_code == 1000
    if sound:
        expected = decoded(model, result.codes, len(pcm))
        assert len(result.wav) == len(pcm)
        assert np.abs(result.wav - expected).max() <= 0.51


@pytest.mark.parametrize("sizes", [[320], [1], [777, 13], [5000, 1, 319], [32_000]])
def test_codes_and_sound_are_the_models_for_any_chunks(tiny_model, sizes):
    pcm = speech(0.1713 if sizes == [1] else 0.9713)

    async def test(server):
        check(tiny_model, pcm, await stream(server, pcm, sizes, mode="both"), 8)

    with_server(tiny_model, test)


def test_clients_at_a_time_with_different_codebooks(tiny_model):
    rng = np.random.default_rng(0)
    counts = [1, 2, 2, 5, 8, 8, 3]
    signals = [speech(0.4 + 0.17 * i, seed=i) for i in range(len(counts))]
    sizes = [rng.integers(1, 1500, 20).tolist() for _ in counts]

    async def test(server):
        # Twice, so that the slots are used again.
        for _ in range(2):
            jobs = [
                stream(server, pcm, size, pause=0.001, mode="both", codebooks=count)
                for pcm, size, count in zip(signals, sizes, counts, strict=True)
            ]
            for pcm, count, result in zip(signals, counts, await asyncio.gather(*jobs), strict=True):
                check(tiny_model, pcm, result, count)

    with_server(tiny_model, test, max_clients=len(counts))


def test_codes_come_back_as_the_models_sound(tiny_model):
    pcm = speech(0.533)
    codes = encoded(tiny_model, pcm, 3)
    messages = [codes_message(codes[:, i : i + 4], i) for i in range(0, codes.shape[1], 4)]
    end = {"type": "end", "num_samples": len(pcm)}

    async def test(server):
        start = {"mode": "decode", "fingerprint": tiny_model.fingerprint}
        result = await send_and_receive(server, [*messages, end], **start)
        assert np.abs(result.wav - decoded(tiny_model, codes, len(pcm))).max() <= 0.51
        assert result.ended["num_samples"] == len(result.wav) == len(pcm)

    with_server(tiny_model, test)


@pytest.mark.parametrize("delay", ["of a frame", "none"])
def test_a_decoder_ends_where_its_client_says_or_refuses(tiny_model, delay):
    """Ends within the last frame, also when all of it was sent; no others."""
    model = tiny_model if delay == "of a frame" else make_seanet(CAUSAL)
    hop, frames = model.hop_length, 5
    shortest = (frames - 1) * hop + 1
    codes = np.arange(frames * 2).reshape(2, frames) % model.config.quantizer.codebook_size
    start = {"mode": "decode", "fingerprint": model.fingerprint}
    pcm = speech(0.3)

    async def end_at(server, num_samples: int):
        """All audio that the decoder can hand out comes before the end is announced."""
        async with connected(server, **start) as link:
            await link.send(codes_message(codes, 0))
            early = np.zeros(0, np.int16)
            assert json.loads(await link.recv())["type"] == "ready"
            while len(early) < frames * hop - model.decoder.delay:
                early = np.concatenate([early, parse_output(await link.recv())[2]])
            await link.send(json.dumps({"type": "end", "num_samples": num_samples}))
            return len(early), await receive(link, first=len(early))

    async def test(server):
        healthy = asyncio.create_task(stream(server, pcm, [320], pause=0.01, mode="both"))
        await asyncio.sleep(0.02)
        for num_samples in (-1, 0, shortest - 1, frames * hop + 1):
            assert (await end_at(server, num_samples))[1].error == "bad_end"
        for num_samples in (shortest, frames * hop):
            early, result = await end_at(server, num_samples)
            assert result.ended == {"type": "ended", "frames": frames, "num_samples": num_samples}
            assert early + len(result.wav) == max(early, num_samples)
        result = await healthy
        assert result.error is None and result.ended["num_samples"] == len(pcm)
        assert np.array_equal(result.codes, encoded(model, pcm))
        assert metric(server, "closed_total", code="internal") is None

    with_server(model, test)


def test_the_number_of_codebooks_changes_on_the_way(tiny_model):
    pcm = speech(1.0)
    whole = encoded(tiny_model, pcm)

    async def test(server):
        async with connected(server, mode="encode", codebooks=8) as link:
            assert json.loads(await link.recv())["bits_per_second"] == 4000
            await link.send(pcm[:3200].tobytes())
            got = [(await link.recv()) for _ in range(1)]
            await link.send('{"type": "codebooks", "value": 2}')
            await link.send(pcm[3200:].tobytes())
            await link.send('{"type": "end"}')
            texts = []
            async for message in link:
                (texts.append(json.loads(message)) if isinstance(message, str) else got.append(message))
        assert [text["type"] for text in texts] == ["codebooks", "ended"]
        assert texts[0]["bits_per_second"] == 1000
        for message in got:
            _, count, _, first = struct.unpack_from("<BBHI", message)
            part = np.frombuffer(message, "<u2", offset=8).reshape(-1, count).T
            assert np.array_equal(part, whole[:count, first : first + part.shape[1]])
        assert count == 2

    with_server(tiny_model, test)


@pytest.mark.parametrize("edges", ["zeros", "mirror"])
def test_the_latency_that_a_client_is_given_is_the_models(edges):
    """Mirrored edges hold the first frames back until the network sees that far."""
    model = make_seanet(CAUSAL | {"edges": edges})
    latencies = {
        "encode": model.streaming_encoder().latency,
        "decode": model.streaming_decoder().latency,
        "both": model.latency,
    }
    offer = Offer(model, ServeConfig())
    for mode, latency in latencies.items():
        ready = json.loads(offer.ready(Agreed(mode, model.sample_rate, model.num_codebooks)))
        assert ready["latency_ms"] == pytest.approx(latency.milliseconds, abs=0.05)


def test_another_rate_is_resampled(tiny_model):
    wav = make_speech(0.6, 48_000)
    pcm = (wav * 32_767).astype(np.int16)

    async def test(server):
        result = await stream(server, pcm, [960], mode="encode", rate=48_000)
        expected = tiny_model.encode(torch.from_numpy(pcm), sample_rate=48_000).codes[0].numpy()
        assert np.array_equal(result.codes, expected)
        assert result.texts[0]["latency_ms"] > 20

    with_server(tiny_model, test)


def packed(*codes: int, kind: int = 1, count: int = 2, first: int = 0) -> bytes:
    return struct.pack("<BBHI", kind, count, 0, first) + np.array(codes, "<u2").tobytes()


SOUND, DECODE = {"mode": "both"}, {"mode": "decode", "fingerprint": "own"}
FAULTS = {
    "odd bytes": (SOUND, [b"123"], "odd_bytes"),
    "a wav": (SOUND, [b"RIFF\x24\0\0\0WAVEfmt " + bytes(640)], "bad_sound"),
    "a flac in pieces": (SOUND, [b"fL", b"aC\0\0\0\x22", bytes(640)], "bad_sound"),
    "low rate": ({"rate": 100}, [], "bad_rate"),
    "rate of a decoder": (DECODE | {"rate": 8000}, [], "bad_rate"),
    "rate as text": ({"rate": "16000"}, [], "bad_message"),
    "unknown key": ({"cheese": 1}, [], "bad_message"),
    "unknown mode": ({"mode": "sing"}, [], "bad_message"),
    "no codebooks": ({"codebooks": 0}, [], "bad_codebooks"),
    "too many codebooks": (SOUND, [{"type": "codebooks", "value": 9}], "bad_codebooks"),
    "second start": (SOUND, [{"type": "start"}], "bad_message"),
    "garbage": (SOUND, ["%&/("], "bad_message"),
    "deep JSON": (SOUND, ["[" * 60_000], "bad_message"),
    "no object": (SOUND, ["3"], "bad_message"),
    "type of an odd type": (SOUND, ['{"type": []}'], "bad_message"),
    "no start": ({}, [b"12"], "bad_message"),
    "other model": (DECODE | {"fingerprint": "0123456789abcdef"}, [], "bad_model"),
    "no model": ({"mode": "decode"}, [], "bad_model"),
    "code out of range": (DECODE, [packed(1, 1024)], "bad_codes"),
    "half a frame": (DECODE, [packed(1, 2, 3)], "bad_codes"),
    "codes of 9 codebooks": (DECODE, [packed(*range(9), count=9)], "bad_codes"),
    "audio to a decoder": (DECODE, [packed(1, 2, kind=2)], "bad_codes"),
    "no header": (DECODE, [b"1234"], "bad_codes"),
    "missing frames": (DECODE, [packed(1, 2), packed(1, 2, first=2)], "bad_codes"),
    "half a character for a model": ({"fingerprint": "\ud800"}, [], "bad_model"),
    "wrong end": (DECODE, [packed(1, 2), {"type": "end", "num_samples": 5000}], "bad_end"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_and_harms_nobody_else(tiny_model, name):
    start, messages, code = FAULTS[name]
    start = start | ({"fingerprint": tiny_model.fingerprint} if start.get("fingerprint") == "own" else {})
    pcm = speech(0.4)

    async def test(server):
        healthy = asyncio.create_task(stream(server, pcm, [320], pause=0.005, mode="both"))
        await asyncio.sleep(0.02)
        result = await send_and_receive(server, messages, **start)
        assert result.error == code, result
        assert result.close_code in (1003, 1008)
        assert "\n" not in result.texts[-1]["message"]
        assert metric(server, "closed_total", code=code) == 1
        check(tiny_model, pcm, await healthy, 8)

    with_server(tiny_model, test)


def test_an_empty_signal_ends(tiny_model):
    async def test(server):
        for mode in ("both", "encode", "decode"):
            start = {"mode": mode, "fingerprint": tiny_model.fingerprint}
            result = await send_and_receive(server, [{"type": "end"}], **start)
            assert result.ended == {"type": "ended", "frames": 0, "num_samples": 0}

    with_server(tiny_model, test)


def test_a_message_that_is_too_large_is_refused_unread(tiny_model):
    pcm = speech(0.4)

    async def test(server):
        healthy = asyncio.create_task(stream(server, pcm, [320], pause=0.005, mode="both"))
        async with connected(server, mode="encode") as link:
            # Only the head of a frame of 1 GiB: its length is enough.
            link.transport.write(bytes([0x82, 0xFF]) + struct.pack(">Q", 1 << 30) + bytes(4))
            assert (await receive(link)).close_code == 1009
        check(tiny_model, pcm, await healthy, 8)

    with_server(tiny_model, test)


def test_broken_connections_free_their_places(tiny_model):
    pcm = speech(0.4)

    async def test(server):
        for turn in range(6):
            async with connected(server, mode="both") as link:
                await link.send(pcm[: 900 + turn].tobytes())
                if turn % 2:
                    # In the midst of a message: half a frame, then nothing.
                    link.transport.write(bytes([0x82, 0xFE, 0x10, 0x00, 0, 0, 0, 0]) + bytes(100))
                    await asyncio.sleep(0.01)
                link.transport.abort()
        await asyncio.sleep(0.1)
        check(tiny_model, pcm, await stream(server, pcm, [320], mode="both"), 8)

    with_server(tiny_model, test, max_clients=2)


def test_a_client_that_does_not_read_is_closed(tiny_model):
    pcm = speech(0.4)

    async def test(server):
        async with connected(server, mode="both") as deaf:
            deaf.transport.pause_reading()
            sending = asyncio.create_task(_flood(deaf))
            check(tiny_model, pcm, await stream(server, pcm, [320], pause=0.01, mode="both"), 8)
            for _ in range(500):
                if metric(server, "closed_total", code="stalled"):
                    break
                await asyncio.sleep(0.05)
            assert metric(server, "closed_total", code="stalled") == 1
            sending.cancel()
            deaf.transport.abort()

    with_server(tiny_model, test, stall_seconds=0.3)


async def _flood(link) -> None:
    with pytest.raises((websockets.ConnectionClosed, asyncio.CancelledError)):
        while True:
            await link.send(bytes(32_000))


def test_a_fast_client_is_held_to_its_speed(tiny_model):
    async def test(server):
        start = asyncio.get_running_loop().time()
        await stream(server, speech(4.0), [16_000], mode="encode")
        # A second comes at once, three at three times real time.
        assert 0.9 < asyncio.get_running_loop().time() - start < 4

    with_server(tiny_model, test, max_speed=3.0)


def test_silent_clients_and_chatterers_are_closed(tiny_model):
    async def test(server):
        assert (await send_and_receive(server, [])).error == "idle"
        assert (await send_and_receive(server, [], mode="encode")).error == "idle"
        assert (await send_and_receive(server, [b""] * 200, mode="encode")).error == "too_many"

    with_server(tiny_model, test, start_seconds=0.2, idle_seconds=0.2, max_messages_per_second=100)


def test_places_are_limited(tiny_model):
    async def test(server):
        async with connected(server, mode="encode") as first:
            await first.recv()
            assert (await send_and_receive(server, [], mode="encode")).error == "full"
        assert (await stream(server, speech(0.1), [320], mode="encode")).ended

    with_server(tiny_model, test, max_clients=1)


def test_places_of_one_address_are_limited(tiny_model):
    async def test(server):
        async with connected(server, mode="encode"), connect(_url(server)) as second:
            assert (await receive(second)).error == "full"

    with_server(tiny_model, test, max_clients_per_address=1)


def _url(server) -> str:
    return f"ws://127.0.0.1:{server.port}/ws"


def test_tokens(tiny_model):
    async def test(server):
        assert (await send_and_receive(server, [], mode="encode")).error == "bad_token"
        for wrong in ("sesame", "sesam\ud800", "sesam\udcc3\udca9"):
            result = await send_and_receive(server, [], mode="encode", token=wrong)
            assert (result.error, result.close_code) == ("bad_token", 1008)
        assert (await stream(server, speech(0.1), [320], mode="encode", token="sesamé")).ended
        assert (await get(server, "/metrics"))[0] == 401
        assert (await get(server, "/metrics", Authorization="Bearer sesame"))[0] == 401
        assert (await get(server, "/metrics", Authorization="Bearer sesamé"))[0] == 200

    with_server(tiny_model, test, token="sesamé")


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://evil.example", 403), ("null", 403), ("http://[", 403), ("https://good.example", None)],
)
def test_origins(tiny_model, origin, status):
    async def test(server):
        if status is None:
            async with connect(_url(server), origin=origin) as link:
                assert json.loads(await link.recv())["type"] == "hello"
            return
        with pytest.raises(websockets.InvalidStatus) as refusal:
            await connect(_url(server), origin=origin)
        assert refusal.value.response.status_code == status

    with_server(tiny_model, test, origins=("https://good.example",))


def test_pages(tiny_model):
    async def test(server):
        status, head, body = await get(server, "/")
        assert status == 200 and "<title>codec" in body and "default-src 'none'" in head
        assert (await get(server, "/healthz"))[2] == '{"status": "ok"}\n'
        for path in ("/../config.py", "/%2e%2e/config.py", "/static/", "//etc/passwd", "/nothing"):
            assert (await get(server, path))[0] == 404
        assert (await get(server, "/", Host="evil.example"))[0] == 421
        await stream(server, speech(0.1), [320], mode="both")
        text = (await get(server, "/metrics"))[2]
        assert "\ncodec_serve_frames_encoded_total 5.0\n" in text
        assert "\ncodec_serve_frame_seconds_count 5.0\n" in text

    with_server(tiny_model, test)


def test_a_failing_step_closes_its_clients_and_the_server_goes_on(tiny_model, monkeypatch, caplog):
    pcm = speech(0.2)

    async def test(server):
        monkeypatch.setattr(type(server._worker._streams), "encode", lambda self, turns: 1 / 0)
        broken = await send_and_receive(server, [pcm.tobytes()], mode="both")
        monkeypatch.undo()
        assert broken.error == "internal" and broken.close_code == 1011
        check(tiny_model, pcm, await stream(server, pcm, [320], mode="both"), 8)

    with_server(tiny_model, test)


@pytest.mark.parametrize(
    "settings",
    [
        {"port": 70_000},
        {"token": ""},
        {"token": "\udcff"},
        {"max_clients": 0},
        {"origins": ("example.org",)},
        {"max_speed": 0.5},
    ],
)
def test_settings_that_cannot_be(settings):
    with pytest.raises(CodecError):
        ServeConfig(**settings)


def test_a_port_in_use_is_one_line(capfd, tiny_model_dir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(capfd, "serve", "--port", port, "-m", tiny_model_dir)
    assert result.status == 1
    assert "give another --port" in result.error_lines[0]
