"""A server and clients for tests, all in one event loop."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
import websockets
from conftest import make_speech
from websockets.asyncio.client import connect

from codec.serve.config import ServeConfig
from codec.serve.protocol import CODES, parse_output
from codec.serve.server import Server
from codec.tokens.tokens import Tokens


@dataclass
class Received:
    """What a client got until its connection was closed: codes ``(K, F)``, 16-bit audio ``(T,)``."""

    codes: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    wav: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    texts: list[dict] = field(default_factory=list)
    close_code: int | None = None

    @property
    def error(self) -> str | None:
        """The code of the error that it received."""
        return next((text["code"] for text in self.texts if text["type"] == "error"), None)

    @property
    def ended(self) -> dict | None:
        return next((text for text in self.texts if text["type"] == "ended"), None)


def with_server(model, test: Callable[[Server], Awaitable[None]], **settings) -> None:
    """Run ``test(server)`` while a server is up; afterwards nothing may be left of its clients."""
    values = {"port": 0, "max_speed": 1000.0, "max_messages_per_second": 100_000} | settings

    async def run() -> None:
        async with Server(model, ServeConfig(**values)) as server:
            await asyncio.wait_for(test(server), 60)
            for _ in range(200):
                if metric(server, "clients") == 0:
                    break
                await asyncio.sleep(0.02)
            assert metric(server, "clients") == 0

    asyncio.run(run())


def metric(server: Server, name: str, **labels: str) -> float | None:
    """The value of a metric, ``None`` where nothing was counted for these labels."""
    return server.metrics.registry.get_sample_value(f"codec_serve_{name}", labels)


@asynccontextmanager
async def connected(server: Server, **start):
    """A socket that has started, or tries to."""
    async with connect(f"ws://127.0.0.1:{server.port}/ws", max_size=None, ping_interval=None) as socket:
        assert json.loads(await socket.recv())["type"] == "hello"
        if start:
            await socket.send(json.dumps({"type": "start", **start}))
        yield socket


async def receive(socket, first: int = 0) -> Received:
    """Everything until the connection is closed; ``first`` samples of audio were read already."""
    result, codes, wav = Received(), [], []
    try:
        async for message in socket:
            if isinstance(message, str):
                result.texts.append(json.loads(message))
                continue
            kind, position, values = parse_output(message)
            parts = codes if kind == CODES else wav
            read = 0 if kind == CODES else first
            assert position == read + sum(part.shape[-1] for part in parts)
            parts.append(values)
    except websockets.ConnectionClosed:
        pass
    result.close_code = socket.protocol.close_code
    if codes and len({len(part) for part in codes}) == 1:
        result.codes = np.concatenate(codes, axis=1).astype(np.int64)
    result.wav = np.concatenate(wav) if wav else result.wav
    return result


async def stream(server: Server, pcm: np.ndarray, sizes: list[int], pause: float = 0.0, **start) -> Received:
    """16-bit ``pcm (T,)`` in pieces of these sizes, over and over, to its end."""
    async with connected(server, **start) as socket:
        reader = asyncio.create_task(receive(socket))
        position = turn = 0
        while position < len(pcm):
            size = sizes[turn % len(sizes)]
            await socket.send(pcm[position : position + size].astype("<i2").tobytes())
            position, turn = position + size, turn + 1
            await asyncio.sleep(pause)
        await socket.send('{"type": "end"}')
        return await reader


async def send_and_receive(server: Server, messages: list, **start) -> Received:
    """The answer to these messages."""
    async with connected(server, **start) as socket:
        reader = asyncio.create_task(receive(socket))
        try:
            for message in messages:
                await socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
        except websockets.ConnectionClosed:
            pass
        return await reader


async def get(server: Server, path: str, **headers: str) -> tuple[int, str, str]:
    """Status, head and body of a page."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    lines = {"Host": f"127.0.0.1:{server.port}"} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), head, body


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """``(T,)`` int16 at 16 kHz."""
    return (make_speech(seconds, seed=seed) * 32_767).astype(np.int16)


def encoded(model, pcm, count=None) -> np.ndarray:
    return model.encode(torch.from_numpy(pcm), num_codebooks=count).codes[0].numpy()


def decoded(model, codes: np.ndarray, num_samples: int) -> np.ndarray:
    """Audio in steps of 16 bits, not rounded; the largest is what 16 bits have."""
    tokens = Tokens(
        torch.from_numpy(codes)[None].contiguous(),
        torch.tensor([codes.shape[1]]),
        torch.tensor([num_samples]),
        model.sample_rate,
        model.fingerprint,
        model.hop_length,
        model.quantizer.sizes[: len(codes)],
    )
    return np.minimum(model.decode(tokens)[0].numpy() * 32_768, 32_767)
