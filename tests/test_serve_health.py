"""What the server tells of itself: a hung step, and histograms that Prometheus can read."""

import asyncio
import re
import threading
import time

import pytest

pytest.importorskip("websockets", reason="needs the package websockets")

from serve_client import connected, get, receive, speech, stream, with_server

from codec.serve.channel import Channel
from codec.serve.engine import Engine
from codec.serve.metrics import Metrics


async def health(server, status: int) -> str:
    """The body of ``/healthz`` once it has this status."""
    for _ in range(500):
        found, _, body = await get(server, "/healthz")
        if found == status:
            return body
        await asyncio.sleep(0.01)
    raise AssertionError(f"/healthz does not become {status}: {found} {body}")


def test_a_step_that_hangs_is_told_until_it_ends(tiny_model, monkeypatch):
    release, encode = threading.Event(), Engine.encode

    def slow(self, turns):
        assert release.wait(60)
        return encode(self, turns)

    async def test(server):
        monkeypatch.setattr(Engine, "encode", slow)
        client = asyncio.create_task(stream(server, speech(0.1), [320], mode="both"))
        try:
            assert re.search(r"a step of the model has been running for \d+ s", await health(server, 503))
        finally:
            release.set()
        assert (await client).ended["frames"] == 5
        assert await health(server, 200) == '{"status": "ok"}\n'

    with_server(tiny_model, test, hung_seconds=1e-6)


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


def histogram(text: str, name: str) -> tuple[dict[str, int], float, int]:
    """Cumulative buckets by upper bound, sum and count."""
    buckets = dict(re.findall(rf'^codec_serve_{name}_bucket{{le="(.+)"}} (\d+)$', text, re.MULTILINE))
    total, count = (
        re.search(rf"^codec_serve_{name}_{part} (.+)$", text, re.MULTILINE)[1] for part in ("sum", "count")
    )
    return {bound: int(value) for bound, value in buckets.items()}, float(total), int(count)


def test_a_histogram_counts_what_is_at_most_its_bound():
    metrics = Metrics(max_clients=16)
    for frames in (0, 1, 1, 2, 3, 16, 17, 500):
        metrics.observe("tick_frames", frames)
    text = metrics.text()
    assert "# TYPE codec_serve_tick_frames histogram\n" in text
    buckets, total, count = histogram(text, "tick_frames")
    bounds = ["0", "1", "2", "4", "8", "16", "32", "64", "128", "+Inf"]
    assert buckets == dict(zip(bounds, [1, 3, 4, 5, 5, 6, 7, 7, 7, 8], strict=True))
    assert (total, count) == (540, 8)


def test_every_frame_is_in_one_step(tiny_model):
    async def test(server):
        await asyncio.gather(*(stream(server, speech(0.5, seed), [320], mode="both") for seed in range(3)))
        text = server.metrics.text()
        buckets, total, count = histogram(text, "tick_frames")
        assert total == 3 * 25 == histogram(text, "frame_seconds")[2]
        assert buckets["+Inf"] == count == histogram(text, "tick_seconds")[2]

    with_server(tiny_model, test)
