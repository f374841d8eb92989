"""The benchmarks of corpora: what they measure is what codec tokenize does."""

import time

import pytest
import torch
from corpora_tools import rows_of

from codec import CodecError
from codec.bench import corpus_ray
from codec.bench.corpus import MEAN_SECONDS, measured, tokenize_config, write_corpus
from codec.bench.corpus_device import in_flight
from codec.bench.corpus_ray import SPEED, SleepingCodec, SleepingTask, sleeping_shard
from codec.bench.registry import find_benchmark
from codec.bench.types import BenchConfig
from codec.corpora.audio import read_wav
from codec.corpora.device import DeviceEncoder
from codec.corpora.encode import BatchConfig
from codec.corpora.plan import open_plan, read_plan
from codec.corpora.run import facts_of
from codec.corpora.shard import ShardTask
from codec.corpora.sources import SourceConfig, list_source


def test_the_corpus_has_the_length_that_it_says(tmp_path):
    write_corpus(tmp_path / "clips", "flac", 24)
    utterances = list(list_source(SourceConfig(str(tmp_path / "clips"))))
    seconds = [len(read_wav(one, 16_000)) / 16_000 for one in utterances]
    assert len(seconds) == 24
    assert sum(seconds) / 24 == pytest.approx(MEAN_SECONDS, rel=0.02)


def test_runs_are_measured_whole(tiny_model_dir, tmp_path):
    config = BenchConfig(model=str(tiny_model_dir), files=(3,))
    begun = time.perf_counter()
    table = find_benchmark("corpus-memory")(config)
    assert [row[0] for row in table.rows] == [3]
    assert 0 < sum(row[1] for row in table.rows) < time.perf_counter() - begun
    assert all(row[2] > 50 for row in table.rows)
    with pytest.raises(CodecError, match="the run of codec tokenize failed: .*no utterances"):
        (tmp_path / "empty").mkdir()
        measured(tokenize_config(config, tmp_path / "empty", 10, 1), tmp_path / "out")


def test_a_sleeping_encoder_makes_shards_of_the_right_shape_in_the_right_time(tiny_model, tiny_model_dir, tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(corpus_ray.time, "sleep", slept.append)
    write_corpus(tmp_path / "clips", "mp3", 2)
    settings = tokenize_config(BenchConfig(model=str(tiny_model_dir)), tmp_path / "clips", 2, 1)
    open_plan(tmp_path / "out", settings.source, settings.sizes, facts_of(tiny_model, settings))
    (tmp_path / "present").mkdir()
    task = ShardTask(str(tmp_path / "out"), 0, str(tiny_model_dir), "cpu", BatchConfig(), 0.0)
    report = sleeping_shard(SleepingTask(task, str(tmp_path / "present"), 1))
    assert sum(slept) == pytest.approx(report.seconds / SPEED)
    for row in rows_of(tmp_path / "out"):
        assert len(row["c7"]) == -(-row["num_samples"] // tiny_model.hop_length)
        assert set(row["c7"]) == {0}
    facts = read_plan(tmp_path / "out").facts
    assert SleepingCodec(facts).fingerprint == tiny_model.fingerprint


def test_the_three_ways_through_a_device(tiny_model, tiny_model_dir):
    config = BenchConfig(model=str(tiny_model_dir), engine="torch", seconds=0.1, repeats=1, batch_seconds=(0.2,))
    table = find_benchmark("corpus-device")(config)
    assert [row[0] for row in table.rows] == ["host memory, model.encode", "host memory, as codec tokenize", "device memory"]
    assert table.rows[2][3] == 1
    clips = [torch.rand(n) - 0.5 for n in (300, 800, 1000)]
    codes = in_flight(DeviceEncoder(tiny_model, 8), [clips[:2], clips[2:]])
    for one, wav in zip(codes, clips, strict=True):
        assert torch.equal(one, tiny_model.encode(wav).codes[0])


@pytest.mark.parametrize("name", ["workers", "actors", "files"])
def test_numbers_below_1_are_refused(name):
    with pytest.raises(CodecError, match=rf"bench: {name} is \[0\]; name numbers of 1 or more"):
        BenchConfig(**{name: (0,)})
