"""Load and faults for ``codec serve``: healthy clients in real time together with broken and hostile ones.

Starts a server on loopback, checks every healthy client's codes against the model's own, counts frames whose
codes came late, and watches the server's memory.

``python recipes/soak_serve.py --clients 16 --minutes 2``; healthy clients alone: ``--faults-per-second 0``
"""

import argparse
import asyncio
import contextlib
import gc
import json
import random
import re
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import websockets
from websockets.asyncio.client import ClientConnection, connect

import codec
from codec.audio.io import load_audio
from codec.model.codec import Codec
from codec.model.files import load_model
from codec.serve.protocol import CODES, parse_output

CLIP = Path(codec.__file__).parent / "assets" / "speech.flac"
LATE_MS = 20.0
DROPPED = (ConnectionError, websockets.WebSocketException, TimeoutError, asyncio.IncompleteReadError)


@dataclass(frozen=True)
class Load:
    """The load on the server."""

    clients: int = 8
    minutes: float = 1.0
    faults_per_second: float = 2.0
    model: str = "default"
    engine: str = "auto"
    seed: int = 0


@dataclass
class Findings:
    """Observations over all healthy clients."""

    signals: int = 0
    codes: int = 0
    different: int = 0
    delays: list[float] = field(default_factory=list)
    """Milliseconds from a frame's last samples being sent to its codes being there."""
    broken: list[str] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)
    """MiB of the server, every second."""


@dataclass(frozen=True)
class Signal:
    """16-bit audio ``(T,)`` and its codes ``(K, F)``."""

    pcm: np.ndarray
    codes: np.ndarray


def make_signals(model: Codec, count: int, rng: np.random.Generator) -> list[Signal]:
    """Excerpts of the bundled clip, 2 s or longer, at different levels."""
    wav = load_audio(CLIP, sample_rate=model.sample_rate).wav.numpy()
    signals = []
    for _ in range(count):
        start = rng.integers(0, len(wav) - 2 * model.sample_rate)
        pcm = (wav[start : rng.integers(start + 2 * model.sample_rate, len(wav) + 1)] * 32_767).astype("<i2")
        pcm = (pcm * rng.uniform(0.3, 1.0)).astype("<i2")
        signals.append(Signal(pcm, model.encode(torch.from_numpy(pcm)).codes[0].numpy()))
    return signals


async def healthy(address: str, signals: list[Signal], stop: float, hop: int, found: Findings) -> None:
    """One client after the other, each with a signal in real time."""
    await asyncio.sleep(random.random())
    while time.monotonic() < stop:
        try:
            await one_signal(address, random.choice(signals), random.randint(1, 8), hop, found)
        except (*DROPPED, AssertionError) as error:
            found.broken.append(f"{type(error).__name__}: {error}")


async def one_signal(address: str, signal: Signal, count: int, hop: int, found: Findings) -> None:
    async with connect(address, compression=None) as socket:
        assert json.loads(await socket.recv())["type"] == "hello"
        await socket.send(json.dumps({"type": "start", "mode": "both", "codebooks": count}))
        assert json.loads(await socket.recv())["type"] == "ready"
        sent: list[float] = []
        reader = asyncio.create_task(read(socket, sent, found))
        start = time.monotonic()
        for index, position in enumerate(range(0, len(signal.pcm), hop)):
            await asyncio.sleep(max(0.0, start + index * hop / 16_000 - time.monotonic()))
            await socket.send(signal.pcm[position : position + hop].tobytes())
            sent.append(time.monotonic())
        await socket.send('{"type": "end"}')
        codes, samples = await reader
    expected = signal.codes[:count]
    assert codes.shape == expected.shape, f"{codes.shape} codes, not {expected.shape}"
    assert samples == len(signal.pcm), f"{samples} samples, not {len(signal.pcm)}"
    found.signals += 1
    found.codes += codes.size
    found.different += int((codes != expected).sum())


async def read(
    socket: ClientConnection, sent: list[float], found: Findings
) -> tuple[np.ndarray, int]:
    """The codes of a signal, and the samples of its audio."""
    parts, samples = [], 0
    async for message in socket:
        now = time.monotonic()
        if isinstance(message, str):
            assert json.loads(message)["type"] == "ended", message
            continue
        kind, first, values = parse_output(message)
        if kind != CODES:
            samples += len(values)
            continue
        parts.append(values.astype(np.int64))
        # The last frame is complete only with the end of the signal.
        found.delays += [1000 * (now - when) for when in sent[first : first + values.shape[1]]]
    return np.concatenate(parts, axis=1), samples


async def faulty(address: str, stop: float, rate: float, found: Findings) -> None:
    """Broken clients, one after the other, several at a time."""
    running: set[asyncio.Task] = set()
    names = list(FAULTS)
    while rate and time.monotonic() < stop:
        await asyncio.sleep(1 / rate)
        if len(running) < 6:
            name = random.choice(names)
            found.faults[name] = found.faults.get(name, 0) + 1
            task = asyncio.create_task(misbehave(address, name))
            running.add(task)
            task.add_done_callback(running.discard)
    await asyncio.gather(*running)


async def misbehave(address: str, name: str) -> None:
    # A server that does not get rid of such a client would keep it until here.
    with contextlib.suppress(*DROPPED):
        async with asyncio.timeout(20), connect(address, compression=None) as socket:
            await socket.recv()
            await FAULTS[name](socket)


def _says(*messages: str | bytes) -> Callable[[ClientConnection], Awaitable[None]]:
    """A client that sends this, and waits to be closed."""

    async def fault(socket: ClientConnection) -> None:
        for message in messages:
            await socket.send(message)
        await socket.wait_closed()

    return fault


async def _huge_message(socket) -> None:
    socket.transport.write(bytes([0x82, 0xFF]) + struct.pack(">Q", 1 << 30) + bytes(4))
    await socket.wait_closed()


async def _cut_off(socket) -> None:
    await socket.send('{"type": "start", "mode": "both"}')
    await socket.send(bytes(1001 * 2))
    socket.transport.write(bytes([0x82, 0xFE, 0x10, 0x00, 0, 0, 0, 0]) + bytes(100))
    await asyncio.sleep(0.1)
    socket.transport.abort()


async def _flood(socket) -> None:
    """Send as fast as possible, without reading."""
    await socket.send('{"type": "start", "mode": "both"}')
    socket.transport.pause_reading()
    while True:
        await socket.send(bytes(32_000))


FAULTS = {
    "garbage": _says(random.randbytes(50).decode("latin-1")),
    "odd bytes": _says('{"type": "start"}', b"123"),
    "wrong rate": _says('{"type": "start", "rate": 3}'),
    "other model": _says('{"type": "start", "mode": "decode", "fingerprint": "0000000000000000"}'),
    "1 GiB message": _huge_message,
    "cut off in a message": _cut_off,
    "flood, not reading": _flood,
    "says nothing": _says(),
}


async def watch(port: int, stop: float, found: Findings) -> None:
    """The server's memory, as it says itself."""
    while time.monotonic() < stop:
        text = await asyncio.to_thread(metrics, port)
        found.memory.append(value(text, "process_resident_memory_bytes") / 2**20)
        await asyncio.sleep(1)


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def value(text: str, name: str) -> float:
    return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])


async def soak(load: Load, port: int, model: Codec, found: Findings) -> None:
    address = f"ws://127.0.0.1:{port}/ws"
    signals = make_signals(model, 12, np.random.default_rng(load.seed))
    stop = time.monotonic() + 60 * load.minutes
    clients = [healthy(address, signals, stop, model.hop_length, found) for _ in range(load.clients)]
    await asyncio.gather(
        *clients, faulty(address, stop, load.faults_per_second, found), watch(port, stop, found)
    )


def report(load: Load, found: Findings, text: str) -> int:
    """Print the table; 1 when a healthy client came to harm."""
    delays = np.array(found.delays)
    low, middle, high, worst = np.percentile(delays, [50, 95, 99, 100])
    quarter = max(1, len(found.memory) // 4)
    begin, end = np.median(found.memory[quarter : 2 * quarter]), np.median(found.memory[-quarter:])
    ticks, tick_seconds = (value(text, f"codec_serve_tick_seconds_{name}") for name in ("count", "sum"))
    late = value(text, "codec_serve_late_frames_total")
    frames = value(text, "codec_serve_frame_seconds_count")
    rows = {
        "healthy clients at a time": f"{load.clients}, {load.minutes:g} min",
        "signals": f"{found.signals} complete, {len(found.broken)} broken",
        "codes that differ": f"{found.different} of {found.codes}",
        "frame to codes, ms": f"as clients see it: p50 {low:.1f}, p95 {middle:.1f}, p99 {high:.1f}, max {worst:.1f}",
        f"later than {LATE_MS:g} ms": f"{(delays > LATE_MS).sum()} of {len(delays)} "
        f"({100 * (delays > LATE_MS).mean():.2f} %)",
        "late in the server": f"{late:.0f} of {frames:.0f} ({100 * late / max(1, frames):.2f} %), faulty clients' too",
        "steps of the model": f"{ticks:.0f}, {1000 * tick_seconds / max(1, ticks):.1f} ms each, "
        f"{value(text, 'codec_serve_tick_frames_sum') / max(1, ticks):.2f} frames",
        "faults": ", ".join(f"{name} {count}" for name, count in sorted(found.faults.items())) or "none",
        "memory of the server, MiB": f"{begin:.0f} in the second quarter, {end:.0f} in the last",
        "clients left": f"{value(text, 'codec_serve_clients'):.0f}",
    }
    for name, row in rows.items():
        print(f"{name:28} {row}")
    for problem in found.broken[:5]:
        print(f"broken: {problem}")
    return 1 if found.broken or not found.signals else 0


def run(load: Load) -> tuple[Findings, str]:
    """Observations under a load, and the server's own metrics after it."""
    random.seed(load.seed)
    torch.set_num_threads(1)
    model = load_model(load.model, "cpu", load.engine)
    options = f"--port 0 --engine {load.engine} --stall 2 --max-clients {load.clients + 8}".split()
    program = "import sys; from codec.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "serve", "--model", load.model, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            port = int(re.search(r":(\d+)/", server.stderr.readline())[1])
            found = Findings()
            # Else our own collections, a tenth of a second each, would look like the server's delay.
            gc.freeze()
            asyncio.run(soak(load, port, model, found))
            for _ in range(30):
                text = metrics(port)
                if value(text, "codec_serve_clients") == 0:
                    break
                time.sleep(0.1)
            return found, text
        finally:
            server.terminate()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in vars(Load()).items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, help=f"default: {default}")
    load = Load(**vars(parser.parse_args()))
    return report(load, *run(load))


if __name__ == "__main__":
    sys.exit(main())
