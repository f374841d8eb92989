"""What the server tells of itself: a hung step, and the metrics that Prometheus reads."""

import asyncio
import os
import re
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("websockets", reason="needs the package websockets")
pytest.importorskip("prometheus_client", reason="needs the package prometheus_client")

from prometheus_client.parser import text_string_to_metric_families
from serve_client import connected, get, metric, receive, speech, stream, with_server

from codec.serve.channel import Channel
from codec.serve.metrics import Metrics
from codec.serve.streams import Streams

DOCS = Path(__file__).parents[1] / "docs"


async def health(server, status: int) -> str:
    """The body of ``/healthz`` once it has this status."""
    for _ in range(500):
        found, _, body = await get(server, "/healthz")
        if found == status:
            return body
        await asyncio.sleep(0.01)
    raise AssertionError(f"/healthz does not become {status}: {found} {body}")


def test_a_step_that_hangs_is_told_until_it_ends(tiny_model, monkeypatch):
    release, encode = threading.Event(), Streams.encode

    def slow(self, turns):
        assert release.wait(60)
        return encode(self, turns)

    async def test(server):
        monkeypatch.setattr(Streams, "encode", slow)
        client = asyncio.create_task(stream(server, speech(0.1), [320], mode="both"))
        try:
            # Until the step begins, frames wait for it.
            while "frames have been waiting" in (problem := await health(server, 503)):
                await asyncio.sleep(0.01)
            assert re.search(r"a step of the model has been running for \d+ s", problem)
        finally:
            release.set()
        assert (await client).ended["frames"] == 5
        assert await health(server, 200) == '{"status": "ok"}\n'

    with_server(tiny_model, test, hung_seconds=1e-6)


def test_ten_seconds_of_one_step_are_too_long_by_default(tiny_model):
    async def test(server):
        worker, now = server._worker, time.monotonic()
        with worker._changed:
            worker._step_start = now
            # The condition's lock can be taken again by the same thread.
            assert worker.problem(now + 9.9) is None
            assert worker.problem(now + 10.1) == "a step of the model has been running for 10 s"
            worker._step_start = None

    with_server(tiny_model, test)


def test_frames_that_no_step_takes_are_told(tiny_model, monkeypatch):
    async def test(server):
        problem = server._worker.problem
        # A server at rest is well, however long.
        assert problem(time.monotonic() + 1000) is None
        with monkeypatch.context() as patch:
            patch.setattr(Channel, "ready", lambda self, now: None)
            async with connected(server, mode="encode") as link:
                await link.send(speech(0.1).tobytes())
                while not any(channel.waiting for channel in server._worker._channels.values()):
                    await asyncio.sleep(0.01)
                assert problem(time.monotonic()) is None
                assert "frames have been waiting for a step" in problem(time.monotonic() + 30)
                patch.undo()
                await link.send('{"type": "end"}')
                assert (await receive(link)).ended["frames"] == 5
        # The last output leaves a moment before its step ends.
        while problem(time.monotonic() + 1000) is not None:
            await asyncio.sleep(0.01)

    with_server(tiny_model, test, hung_seconds=20.0)


def test_the_end_of_the_models_thread_is_told(tiny_model):
    async def test(server):
        await asyncio.to_thread(server._worker.stop)
        assert await health(server, 503) == '{"status": "the model\'s thread has ended"}\n'

    with_server(tiny_model, test)


def test_two_servers_of_one_process_count_apart():
    one, two = Metrics(max_clients=1), Metrics(max_clients=2)
    one.connections.inc()
    assert "codec_serve_connections_total 1.0\n" in one.text()
    assert "codec_serve_connections_total 0.0\n" in two.text()


def test_every_metric_is_documented():
    documented = (DOCS / "serving.md").read_text(encoding="utf-8").partition("## Metrics")[2]
    families = text_string_to_metric_families(Metrics(max_clients=16).text())
    names = {f.name + ("_total" if f.type == "counter" else "") for f in families}
    names = {name.removeprefix("codec_serve_") for name in names if not name.endswith("_created")}
    assert {"connections_total", "tick_frames", "max_clients"} <= names
    assert not [name for name in names if f"`{name}`" not in documented and f"`{name}{{" not in documented]


def test_memory_is_that_of_this_process():
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("only Linux tells its processes' memory in /proc")
    found = Metrics(max_clients=1).registry.get_sample_value("process_resident_memory_bytes")
    assert found == pytest.approx(int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"), rel=0.1)


def test_every_frame_is_in_one_step(tiny_model):
    async def test(server):
        await asyncio.gather(*(stream(server, speech(0.5, seed), [320], mode="both") for seed in range(3)))
        assert metric(server, "tick_frames_sum") == 3 * 25 == metric(server, "frame_seconds_count")
        assert metric(server, "tick_frames_count") == metric(server, "tick_seconds_count") > 0
        assert metric(server, "tick_frames_bucket", le="0.0") < metric(server, "tick_frames_count")

    with_server(tiny_model, test)
