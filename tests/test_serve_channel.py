"""A client's queue: what is due when, and how a signal ends; the clock is the test's."""

import numpy as np
import pytest

from codec.serve.channel import Channel, Framing
from codec.serve.config import ServeConfig
from codec.serve.metrics import Metrics
from codec.serve.worker import Worker

HOP = 320
FRAMING = Framing(HOP, 50.0, 1)


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """One number: the time at which channels are made."""
    now = [1000.0]
    monkeypatch.setattr("codec.serve.channel.time.monotonic", lambda: now[0])
    return now


def channel(mode: str, **settings) -> Channel:
    return Channel(0, mode, 8, FRAMING, ServeConfig(**settings), lambda output: None)


def sound(frames: float) -> np.ndarray:
    return np.ones(round(frames * HOP), np.float32)


@pytest.mark.parametrize(("settings", "most"), [({}, 4), ({"frames_per_tick": 7}, 7)])
def test_a_step_takes_few_frames_of_one_client(clock, settings, most):
    client = channel("encode", **settings)
    client.add_sound(sound(30), 1000.0)
    assert client.ready(1000.0) == most


def test_a_live_frame_is_due_when_its_last_sample_has_come(clock):
    client = channel("encode")
    for index in range(500):
        # 13 ms for the second half of each frame to come, 5 ms until it is taken.
        start = 1000 + 0.02 * index
        client.add_sound(sound(0.5), start)
        assert client.ready(start) is None
        client.add_sound(sound(0.5), start + 0.013)
        assert client.is_live(start + 0.018)
        assert client.take(client.ready(start + 0.018), start + 0.018).due == [start + 0.013]


def test_frames_faster_than_live_sound_are_not_late_while_they_wait(clock):
    client = channel("encode")
    client.add_sound(sound(100), 1000.0)
    now, dues = 1000.0, []
    while client.waiting:
        if client.ready(now) and client.is_live(now):
            dues += client.take(1, now).due
            # The others of the first tenth of a second wait while it is taken.
            assert now - 0.004 < dues[-1] <= now
        now += 0.0005
    assert dues[:6] == [1000.0] * 6
    assert np.diff(dues[5:]) == pytest.approx(np.full(94, 0.02 / 1.1))


def test_frames_of_a_client_that_does_not_read_are_due_when_it_does(clock):
    client = channel("both", output_messages=4)
    client.add_sound(sound(3), 1000.0)
    client.unsent = 4
    for now in (1000.0, 1005.0, 1009.9):
        assert client.ready(now) is None
        assert client.waits_since is None
    client.unsent = 0
    assert client.ready(1010.0) == 3
    assert client.take(1, 1010.0).due == [1009.9]


def test_idle_moments_cost_a_fast_client_nothing_later(clock):
    client = channel("encode")
    for index in range(20):
        client.add_sound(sound(4), 1000.0 + 0.03 * index)
        client.take(4, 1000.0 + 0.03 * index)
    client.add_sound(sound(1), 1001.0)
    assert client.ready(1001.0) == 1 and client.is_live(1001.0)


@pytest.mark.parametrize("mode", ["encode", "both"])
def test_the_last_frame_of_sound_is_filled_up_and_a_tail_follows(clock, mode):
    client = channel(mode)
    client.add_sound(sound(2.5), 1000.0)
    client.end(1000.1)
    turn = client.take(client.ready(1000.2), 1000.2)
    assert turn.pcm.tolist() == [1.0] * 800 + [0.0] * 160
    assert turn.due == [1000.0, 1000.0, 1000.1]
    if mode == "both":
        assert not turn.ending and client.ready(1000.2) == 0
        turn = client.take(0, 1000.2)
        assert (turn.frames, turn.tail) == (0, 1)
    assert turn.ending and turn.num_samples == 800
    assert not client.has_work


@pytest.mark.parametrize("mode", ["encode", "decode", "both"])
def test_an_empty_signal_has_no_tail(clock, mode):
    client = channel(mode)
    client.end(1000.0)
    turn = client.take(client.ready(1000.0), 1000.0)
    assert (turn.frames, turn.tail, turn.ending, turn.num_samples) == (0, 0, True, 0)


@pytest.mark.parametrize(("told", "expected"), [(None, 2 * HOP), (500, 500)])
def test_codes_end_where_the_client_says(clock, told, expected):
    client = channel("decode")
    client.add_codes(np.zeros((2, 3), np.int64), 1000.0)
    client.end(1000.0, told)
    assert not client.take(client.ready(1000.0), 1000.0).ending
    turn = client.take(client.ready(1000.0), 1000.0)
    assert (turn.tail, turn.ending, turn.num_samples) == (1, True, expected)


def test_idle_moments_are_short_while_others_may_come(clock, tiny_model):
    worker = Worker(tiny_model, ServeConfig(max_clients=3), Metrics(3), loop=None)
    fast, live = (worker.open("both", 8, lambda output: None) for _ in range(2))

    def step() -> dict[int, int]:
        return {turn.channel.slot: turn.frames for turn in worker._gather()}

    fast.add_sound(sound(90), clock[0])
    while fast.is_live(clock[0]):
        assert step().keys() == {fast.slot}
    live.add_sound(sound(1), clock[0])
    assert step() == {live.slot: 1}
    assert step() == {fast.slot: 1}
    worker.close(live)
    assert step() == {fast.slot: 4}
