"""Clients and a server that wait for each other: fast clients stay, dead ones go, and the server stops."""

import asyncio
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("websockets", reason="needs the package websockets")

import websockets
from serve_client import connected, encoded, metric, receive, speech, stream, with_server
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from codec.serve.channel import Channel
from codec.serve.config import ServeConfig
from codec.serve.server import Server

SERVING = Path(__file__).parents[1] / "docs" / "serving.md"
IMPATIENT = {"ping_interval": 0.1, "ping_timeout": 0.1}
"""The defaults of websockets, two hundred times faster."""


@pytest.fixture
def impatient_pings(monkeypatch) -> None:
    monkeypatch.setattr("codec.serve.server.serve", partial(serve, **IMPATIENT))
    monkeypatch.setattr(websockets, "connect", partial(connect, **IMPATIENT))


def documented_client(port: int) -> dict:
    """The names in the client of the documentation."""
    text = SERVING.read_text(encoding="utf-8")
    source = next(part for part in text.split("```python\n") if "async def tokens" in part).partition("```")[0]
    names: dict = {}
    exec(source.replace(":8765/", f":{port}/"), names)
    return names


@pytest.mark.parametrize("who", ["a client", "the client of the documentation"])
def test_sound_that_comes_as_fast_as_it_can_is_taken(tiny_model, impatient_pings, who):
    """What the server has not read yet is in the way of an answer to a ping."""
    pcm = speech(12.0)
    codes = encoded(tiny_model, pcm, 4)

    async def test(server):
        if who == "a client":
            result = await stream(server, pcm, [16_000], mode="encode", codebooks=4)
            assert result.close_code == 1000
            assert np.array_equal(result.codes, codes)
            return
        parts = [part.T async for part in documented_client(server.port)["tokens"](pcm)]
        assert np.array_equal(np.concatenate(parts, axis=1), codes)

    with_server(tiny_model, test, max_speed=4.0, max_clients=2)


async def wait_for_nobody(server, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while server._addresses:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("last_word", ["nothing", "start", "sound", "end"])
def test_a_client_that_is_not_there_any_more_is_found(tiny_model, last_word):
    """No ping asks for it: it neither says nor reads anything, and its connection stays open."""
    start = {} if last_word == "nothing" else {"mode": "both"}

    async def test(server):
        async with connected(server, **start) as link:
            try:
                if last_word in ("sound", "end"):
                    await link.send(speech(0.5).tobytes())
                if last_word == "end":
                    await link.send('{"type": "end"}')
                link.transport.pause_reading()
                await asyncio.sleep(0.1)
                await wait_for_nobody(server, 10)
            finally:
                link.transport.abort()

    with_server(tiny_model, test, start_seconds=0.5, idle_seconds=0.5, stall_seconds=0.5)


@pytest.mark.parametrize("is_reading", [True, False])
@pytest.mark.parametrize("waits_for", ["a start", "sound", "room", "codes"])
def test_the_server_stops_whatever_its_clients_wait_for(tiny_model, monkeypatch, waits_for, is_reading):
    """A model that takes nothing stands for one that is busy."""
    monkeypatch.setattr(Channel, "ready", lambda self, now: None)
    config = ServeConfig(port=0, stall_seconds=1.0)

    async def test() -> None:
        server = await Server(tiny_model, config).__aenter__()
        async with connected(server, **({} if waits_for == "a start" else {"mode": "encode"})) as link:
            try:
                if waits_for in ("room", "codes"):
                    pieces = 100 if waits_for == "room" else 1
                    for _ in range(pieces):
                        await link.send(speech(0.5).tobytes())
                if waits_for == "codes":
                    await link.send('{"type": "end"}')
                await asyncio.sleep(0.2)
                if not is_reading:
                    link.transport.pause_reading()
                start = time.monotonic()
                await asyncio.wait_for(server.__aexit__(), 20)
                assert time.monotonic() - start < config.stall_seconds + 2
                assert metric(server, "clients") == 0
            finally:
                link.transport.abort()

    asyncio.run(test())


def test_a_client_is_told_when_the_model_takes_nothing(tiny_model, monkeypatch):
    monkeypatch.setattr(Channel, "ready", lambda self, now: None)

    async def test(server):
        async with connected(server, mode="encode") as link:
            with suppress(websockets.ConnectionClosed):
                for _ in range(20):
                    await link.send(speech(0.5).tobytes())
            result = await receive(link)
            assert result.error == "idle" and result.close_code == 1008

    with_server(tiny_model, test, idle_seconds=0.3, stall_seconds=0.5)
