"""Speed measurements: statistics, baselines of the right size, and the command end to end."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from seanet_models import CAUSAL, make_seanet

import codec
from codec.bench.agreement import bundled_clip, variants
from codec.bench.clients import serve_frames
from codec.bench.clips import compared
from codec.bench.floor import weights_of
from codec.bench.measure import late, percentiles
from codec.bench.registry import find_benchmark
from codec.bench.systems import TimedSystem, baseline_system, build_baseline, noise, our_system
from codec.bench.turns import turn
from codec.bench.types import BenchConfig
from codec.cli.app import main
from codec.errors import CodecError


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_percentiles_are_members_that_enough_of_the_sample_do_not_exceed(values):
    found = percentiles(values)
    for percent, value in ((50, found.p50), (95, found.p95), (99, found.p99), (100, found.worst)):
        assert value in values
        assert 100 * sum(v <= value for v in values) >= percent * len(values)
        assert 100 * sum(v < value for v in values) < percent * len(values)


def test_late_is_more_than_the_limit():
    assert late([0.019, 0.020, 0.0201, 0.5], limit=0.020) == 2


class Clock:
    """Time that passes only in sleeps and steps."""

    def __init__(self, step_seconds: float):
        self.now, self.step_seconds, self.sizes = 0.0, step_seconds, []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def step(self, slots: list[int]) -> None:
        assert len(set(slots)) == len(slots)
        self.sizes.append(len(slots))
        self.now += self.step_seconds


def run(step_seconds: float) -> tuple[list[float], Clock]:
    clock = Clock(step_seconds)
    return serve_frames(clock.step, 16, 0.02, 1.0, lambda: clock.now, clock.sleep), clock


def test_a_fast_server_is_never_late_and_serves_every_frame():
    latencies, clock = run(step_seconds=0.004)
    assert sum(clock.sizes) == len(latencies) == 16 * 49
    assert late(latencies, 0.02) == 0 and max(latencies) <= 2 * 0.004 + 1e-9
    assert 2 < sum(clock.sizes) / len(clock.sizes) < 5


def test_a_server_slower_than_its_clients_falls_behind():
    latencies, _ = run(step_seconds=0.05)
    assert late(latencies, 0.02) > len(latencies) / 2
    assert latencies[-1] > latencies[0]


@pytest.mark.parametrize(
    ("name", "millions"), [("encodec", 14.85), ("mimi", 79.31), ("dac", 74.18), ("dm-codec", 103.68)]
)
def test_baselines_have_their_released_sizes(name, millions):
    pytest.importorskip("transformers")
    with torch.device("meta"):
        network = build_baseline(name)
    # DM-Codec's released count has the projection onto its teachers, which inference lacks.
    projection = 787_200 if name == "dm-codec" else 0
    count = sum(parameter.numel() for parameter in network.parameters()) + projection
    assert count / 1e6 == pytest.approx(millions, abs=0.35)


def test_what_is_unknown_is_refused_by_name():
    with pytest.raises(CodecError, match=r"unknown bench baseline 'lyra'; known: dac, dm-codec, encodec"):
        baseline_system("lyra", "cpu")
    with pytest.raises(CodecError, match=r"unknown benchmark 'fast'; known: agreement, clients, clips, corpus"):
        find_benchmark("fast")
    with pytest.raises(CodecError, match="minutes is 0"):
        BenchConfig(minutes=0)


def test_a_system_on_the_device_computes_what_the_model_does(tmp_path, tiny_model):
    codec.save(tiny_model, tmp_path / "model")
    config = BenchConfig(str(tmp_path / "model"), engine="torch")
    wav = noise(0.4, 16_000, batch=2)
    system = our_system(config, on_device=True)
    tokens = tiny_model.encode(wav)
    assert torch.equal(system.encode(wav), tokens.codes)
    # Late by the overlap, which nothing flushes here, and not clipped.
    sound, late = system.decode(tokens.codes).clamp(-1.0, 1.0), tiny_model.decoder.delay
    torch.testing.assert_close(sound[:, late:], tiny_model.decode(tokens)[:, :-late], atol=1e-5, rtol=0)


def test_a_batch_that_does_not_fit_is_a_row_that_says_so(monkeypatch):
    def fails(wav):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("codec.bench.throughput.our_system", lambda *_: TimedSystem("codec", 16_000, fails, fails))
    table = find_benchmark("throughput")(BenchConfig(baselines=(), batch_seconds=(10.0,)))
    assert table.rows == (("codec", "host", 10.0, *["out of memory"] * 3),)


def test_the_clip_and_its_variants_are_whole_clips_of_their_own():
    clip = bundled_clip(16_000)
    first, second = variants(clip, 2)
    assert 2 * 16_000 < len(first) <= len(clip) and len(first) != len(second)
    assert torch.equal(variants(clip, 1)[0], first) and first.abs().max() <= 1


def test_the_floor_counts_every_weight_once(tiny_model):
    counted = weights_of(tiny_model.encoder) + weights_of(tiny_model.decoder)
    assert counted == sum(parameter.numel() for parameter in tiny_model.parameters())


def test_versions_have_their_turns_and_the_ratio_is_of_one_round():
    # A machine that is twice as busy in the second round: medians of times mix the rounds, ratios do not.
    ours, other, ratio, low, high = compared([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0], [1.5, 2.0]])
    assert (ours, other, ratio, low, high) == (1.75, 3.0, 0.5, 0.5, 0.75)
    assert compared([[1.0], [3.0], [2.0]]) == (2.0,)


def test_clips_are_timed_in_this_version_and_in_a_copy_of_it(tmp_path, tiny_model):
    codec.save(tiny_model, tmp_path / "model")
    package = Path(codec.__file__).parent
    shutil.copytree(package, tmp_path / "other" / "codec", ignore=shutil.ignore_patterns("__pycache__"))
    settings = {"engine": "torch", "clip_seconds": (0.1, 0.2), "repeats": 2, "against": str(tmp_path / "other")}
    table = find_benchmark("clips")(BenchConfig(str(tmp_path / "model"), **settings))
    parts = [row[0] for row in table.rows]
    assert parts[:4] == ["encode 0.1 s", "decode 0.1 s", "encode 0.2 s", "decode 0.2 s"] and len(parts) == 6
    assert all(len(row) == len(table.columns) == 6 and min(row[1:]) > 0 for row in table.rows)


def test_another_version_that_is_none_or_breaks_is_refused(tmp_path, tiny_model, capfd):
    codec.save(tiny_model, tmp_path / "model")
    run, model = find_benchmark("clips"), str(tmp_path / "model")
    with pytest.raises(CodecError, match="no folder codec/ in it; name a checkout"):
        run(BenchConfig(model, against=str(tmp_path)))
    (tmp_path / "codec").mkdir()
    (tmp_path / "codec" / "__init__.py").write_text("raise SystemExit('too old')")
    with pytest.raises(CodecError, match="this version ended with an error"):
        run(BenchConfig(model, engine="torch", against=str(tmp_path)))
    assert "too old" in capfd.readouterr().err
    with pytest.raises(CodecError, match="clip_seconds is"):
        BenchConfig(clip_seconds=(1.0, 0.0))


def test_command_prints_tables_and_writes_what_they_say(tmp_path, tiny_model, capsys):
    codec.save(tiny_model, tmp_path / "model")
    options = (
        "--engine torch --baselines= --seconds 0.4 --repeats 1 --minutes 0.01 --clients 3 --live-seconds 0.2 "
        "--slots 1,3 --frames 4 --clips 2"
    )
    names = ["offline", "stream", "clients", "floor", "throughput", "slots", "agreement", "profile"]
    arguments = ["bench", *names, "--model", str(tmp_path / "model"), *options.split()]
    threads = torch.get_num_threads()
    try:
        assert main([*arguments, "--batch-seconds", "0.8", "--out", str(tmp_path / "bench.json")]) == 0
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "bench.json").read_text())
    assert set(report["results"]) == set(names)
    for table in report["results"].values():
        assert table["title"].partition(",")[0].partition(";")[0] in printed
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
    assert report["results"]["offline"]["rows"][0][0] == "codec"
    assert report["results"]["clients"]["rows"][0][:1] == [3]
    assert [row[:2] for row in report["results"]["slots"]["rows"]] == [["torch", 1], ["torch", 3]]
    assert [row[2] for row in report["results"]["agreement"]["rows"] if "same" in row[0]] == [0]
    for step in ("encode", "decode"):
        shares = [row[3] for row in report["results"]["profile"]["rows"] if row[0] == step]
        assert sum(shares[:-1]) == pytest.approx(100) and shares[-1] == 100
    assert report["machine"]["torch"] == torch.__version__
    assert main([*arguments, "--batch-seconds", "many"]) == 1


@pytest.mark.parametrize("edges", ["zeros", "mirror"])
def test_a_frame_of_a_stream_that_is_timed_is_a_whole_one(edges, monkeypatch):
    """Also where the first frames of a stream wait for the ones after them."""
    model = make_seanet(CAUSAL | {"edges": edges})
    shapes = []
    monkeypatch.setattr("codec.bench.turns.milliseconds", lambda call, times: shapes.append(call().shape) or 0.0)
    turn(model, [])
    assert shapes == [(1, model.num_codebooks, 1), (1, model.hop_length)]
