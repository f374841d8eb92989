"""Tokens of corpora: those of each file alone, however the work is cut, stopped and started again."""

import errno
import json
import multiprocessing
import os
import random
import shutil
import threading
import time
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from corpora_tools import SECONDS, codes_of, config_of, files_of, make_corpus, rows_of, write_clips
from hypothesis import given, settings
from hypothesis import strategies as st
from ray_work import dying_shard

import codec
from codec import CodecError
from codec.cli import main
from codec.corpora import audio, durable
from codec.corpora import shard as shard_module
from codec.corpora.encode import BatchConfig, batches
from codec.corpora.plan import Sizes, cut
from codec.corpora.run import TokenizeConfig, device_of, model_of, rank_of, tokenize
from codec.corpora.step import TokenizeShards
from codec.corpora.table import read_facts, read_rows
from codec.corpora.utterances import Utterance


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return folder, write_clips(folder)


@pytest.fixture(scope="module")
def corpus(clips, tiny_model_dir, tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpora") / "out", tiny_model_dir, clips[0])


def test_a_row_holds_the_tokens_of_its_file_alone(clips, corpus, tiny_model):
    folder, paths = clips
    rows = rows_of(corpus)
    assert [row["id"] for row in rows] == [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    for row, path in zip(rows, paths, strict=True):
        tokens = tiny_model.encode(path)
        assert np.array_equal(codes_of(row), tokens.codes[0].numpy())
        assert row["num_samples"] == tokens.num_samples[0]
        assert row["seconds"] == row["num_samples"] / 16_000
        assert (row["source"], row["error"], row["error_stage"]) == (str(path), None, None)
    assert [row["text"] for row in rows] == ["hello world", *[None] * 6]
    assert [row["speaker"] for row in rows] == [path.parent.name for path in paths]


def test_files_say_what_they_are(corpus, tiny_model):
    tables = sorted((corpus / "shards").glob("*.parquet"))
    assert [table.name for table in tables] == ["000000.parquet", "000001.parquet", "000002.parquet"]
    facts = read_facts(tables[0])
    assert facts.fingerprint == tiny_model.fingerprint
    assert facts.codebook_sizes == tiny_model.quantizer.sizes
    assert facts.model["architecture"] == "spectral"
    file = pq.ParquetFile(tables[0])
    assert file.metadata.row_group(0).column(1).compression == "ZSTD"
    assert str(file.schema_arrow.field("c0").type) == "list<element: uint16>"
    summary = json.loads((corpus / "corpus.json").read_text())
    assert summary["utterances"] == 7
    assert summary["hours"] == pytest.approx(sum(SECONDS) / 3600, rel=1e-3)
    first = next(read_rows(tables[0], ["id", "c0"]))
    assert first["c0"].dtype == np.uint16
    assert set(first) == {"id", "c0"}


@pytest.mark.parametrize(
    "settings",
    [{"batch_seconds": 0.4}, {"batch_seconds": 100.0}, {"decode_threads": 3}, {"workers": 2}, {"threads": 2}],
    ids=str,
)
def test_how_the_work_is_done_leaves_no_trace(settings, clips, corpus, tiny_model_dir, tmp_path):
    """Batches below the longest clips send these through the streaming encoder."""
    assert files_of(make_corpus(tmp_path, tiny_model_dir, clips[0], **settings)) == files_of(corpus)


def test_a_model_that_is_not_causal_encodes_the_same(clips, tmp_path):
    from codec.config import from_dict

    torch.manual_seed(0)
    network = {"n_filters": 2, "latent_dim": 8, "lstm_layers": 1}
    values = {"architecture": "seanet", "sample_rate": 16_000, "network": network}
    model = codec.Codec(from_dict(codec.CodecConfig, values)).eval()
    codec.save(model, tmp_path / "model")
    rows = rows_of(make_corpus(tmp_path / "out", tmp_path / "model", clips[0], batch_seconds=1.0))
    for row, path in zip(rows, clips[1], strict=True):
        assert np.array_equal(codes_of(row), model.encode(path).codes[0].numpy())


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_what_computes_is_part_of_the_plan(backend, clips, tmp_path):
    """By default the engine that ``codec encode`` takes too, which encodes at twice the speed; a plan keeps its own."""
    pytest.importorskip("onnxruntime")
    folder = make_corpus(tmp_path, "default", clips[0], backend=backend)
    facts = read_facts(folder / "shards" / "000000.parquet")
    assert facts.backend == ("onnx" if backend == "auto" else "torch")
    made = files_of(folder)
    (folder / "shards" / "000001.json").unlink()
    assert files_of(make_corpus(folder, "default", clips[0])) == made
    model = codec.load("default", engine=facts.backend)
    for row, path in zip(rows_of(folder), clips[1], strict=True):
        assert np.array_equal(codes_of(row), model.encode(path).codes[0].numpy())


def test_fewer_codebooks(clips, corpus, tiny_model_dir, tmp_path):
    rows = rows_of(make_corpus(tmp_path, tiny_model_dir, clips[0], codebooks=2))
    assert "c2" not in rows[0]
    for few, all_ in zip(rows, rows_of(corpus), strict=True):
        assert np.array_equal(codes_of(few), codes_of(all_)[:2])


def test_a_finished_corpus_is_left_alone(clips, corpus, tiny_model_dir, monkeypatch):
    before = files_of(corpus)
    monkeypatch.setattr("codec.corpora.shard.encode_utterances", None)
    make_corpus(corpus, tiny_model_dir, clips[0])
    assert files_of(corpus) == before


def _worker(config: TokenizeConfig, folder) -> None:
    torch.set_num_threads(1)
    tokenize(config, folder)


def test_killed_at_random_moments_it_gives_what_one_run_gives(tiny_model_dir, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["codec.corpora.run", "codec.model.files", "pyarrow.parquet", "codec.model.seanet"])
    clips, draw = tmp_path / "clips", random.Random(0)
    write_clips(clips, SECONDS * 2)
    config = config_of(tiny_model_dir, clips, shard_clips=2)

    def start(folder):
        process = context.Process(target=_worker, args=(config, folder))
        process.start()
        return process

    warm = context.Process(target=torch.set_num_threads, args=(1,))
    warm.start()
    warm.join()
    begun = time.monotonic()
    start(tmp_path / "whole").join()
    duration = time.monotonic() - begun
    whole = files_of(tmp_path / "whole")
    assert len([name for name in whole if name.endswith(".parquet")]) == 7
    folder, kills = tmp_path / "killed", 0
    while kills < 4 and duration > 0.01:
        process = start(folder)
        process.join(draw.uniform(0.1, 0.7) * duration)
        if process.exitcode == 0:
            if kills >= 2:
                break
            # The machine was busier while the whole run was timed.
            shutil.rmtree(folder)
            kills, duration = 0, duration / 2
            continue
        process.kill()
        process.join()
        kills += 1
    last = start(folder)
    last.join()
    assert last.exitcode == 0
    assert kills >= 2, "nothing was killed, so the test shows nothing"
    assert files_of(folder) == whole


def test_a_worker_that_is_killed_in_the_middle_of_a_shard_ends_the_run_which_goes_on_later(
    clips, corpus, tiny_model_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr("codec.corpora.run.run_shard", partial(dying_shard, str(tmp_path / "mark")))
    with pytest.raises(CodecError, match=r"1 shard not done: shard 1 crashed.*; run the same command again"):
        make_corpus(tmp_path / "out", tiny_model_dir, clips[0], workers=2)
    left = {path.name for path in (tmp_path / "out" / "shards").iterdir()}
    assert ".000001.parquet.part" in left
    assert "000001.parquet" not in left
    assert {"000000.json", "000002.json"} <= left
    assert files_of(make_corpus(tmp_path / "out", tiny_model_dir, clips[0])) == files_of(corpus)


@pytest.mark.parametrize("operation", ["replace", "fsync"])
def test_stopped_at_every_write_it_gives_what_one_run_gives(operation, clips, corpus, tiny_model_dir, tmp_path, monkeypatch):
    whole, original = files_of(corpus), getattr(os, operation)
    for stop in range(100):
        calls = iter(range(1000))

        def stopping(*args, calls=calls, stop=stop):
            if next(calls) == stop:
                raise KeyboardInterrupt
            return original(*args)

        folder = tmp_path / str(stop)
        with monkeypatch.context() as patch:
            patch.setattr(os, operation, stopping)
            try:
                make_corpus(folder, tiny_model_dir, clips[0])
            except KeyboardInterrupt:
                pass
            else:
                break
        make_corpus(folder, tiny_model_dir, clips[0])
        assert files_of(folder) == whole
    assert stop >= 11


def test_processes_of_a_cluster_share_one_plan_and_leave_no_gap(clips, corpus, tiny_model_dir, tmp_path, monkeypatch):
    """A published tool slices what is left over by ranks that start at different moments: gaps and duplicates."""
    for rank in (2, 0, 1):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        make_corpus(tmp_path, tiny_model_dir, clips[0])
        assert (tmp_path / "shards" / f"{rank:06d}.json").is_file()
        # The first two have not seen all shards done, and so wrote no sums.
        assert (tmp_path / "corpus.json").is_file() is (rank == 1)
    assert files_of(tmp_path) == files_of(corpus)


def test_tasks_of_datatrove_share_the_shards(clips, corpus, tiny_model_dir, tmp_path):
    executor = pytest.importorskip("datatrove.executor")
    step = TokenizeShards(config_of(tiny_model_dir, clips[0]), tmp_path / "out")
    for _ in range(2):  # the second time there is nothing left to do
        executor.LocalPipelineExecutor([step], tasks=2, workers=1, logging_dir=str(tmp_path / "logs")).run()
    assert files_of(tmp_path / "out") == files_of(corpus)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, (3, 8)),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "4"}, (2, 4)),
        ({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "10", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, (5, 10)),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "2"}, (3, 4)),
    ],
)
def test_ranks_of_torchrun_and_slurm(environment, expected):
    assert rank_of(environment) == expected


def test_ranks_that_do_not_fit():
    with pytest.raises(CodecError, match="rank 4 of 4 processes"):
        rank_of({"RANK": "4", "WORLD_SIZE": "4"})


def test_each_process_takes_the_gpu_of_its_local_rank(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("cuda", {"LOCAL_RANK": "3"}) == "cuda:1"
    assert device_of("cuda", {}) == "cuda"
    assert device_of("cpu", {"LOCAL_RANK": "1"}) == "cpu"


def write_bad(folder) -> None:
    """4 bad files and 7 good ones."""
    write_clips(folder)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "noise.flac").write_bytes(b"fLaC no more than a name")
    soundfile.write(folder / "silent.wav", np.zeros(0), 16_000)
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan], np.float32), 16_000, subtype="FLOAT")


def test_bad_files_are_rows_with_a_stage_and_a_reason(tiny_model_dir, tmp_path, capsys):
    write_bad(tmp_path / "clips")
    assert main(["tokenize", str(tmp_path / "clips"), str(tmp_path / "out"), "-m", str(tiny_model_dir), "--workers", "1"]) == 0
    assert "4 utterances could not be encoded" in capsys.readouterr().err
    rows = {row["id"]: row for row in rows_of(tmp_path / "out")}
    assert len(rows) == 11
    bad = {name: row for name, row in rows.items() if row["error"] is not None}
    assert {row["error_stage"] for row in bad.values()} == {"decode"}
    assert bad["empty"]["error"] == "empty file (0 bytes); expected an audio file"
    assert bad["nan"]["error"].startswith("holds NaN or infinite samples")
    assert set(bad) == {"empty", "noise", "silent", "nan"}
    assert all(row["c0"] is None and row["num_samples"] is None for row in bad.values())
    assert json.loads((tmp_path / "out" / "corpus.json").read_text())["errors"] == {"decode": 4}
    assert codes_of(rows["a/clip0"]).shape == (8, 15)


def test_a_mistake_leaves_nothing_behind(clips, tiny_model_dir, tmp_path):
    with pytest.raises(CodecError, match="no such folder"):
        tokenize(config_of(tiny_model_dir, tmp_path / "nowhere"), tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.wav").write_bytes(b"")
    with pytest.raises(CodecError, match=r"holds a\.wav but no plan"):
        tokenize(config_of(tiny_model_dir, clips), tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["a.wav"]


def test_a_hub_id_stays_one_for_the_workers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_of("org/name") == "org/name" and model_of("default") == "default"
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert model_of("org/name") == str(tmp_path / "org" / "name")
    assert model_of("./org/name") == str(tmp_path / "org" / "name")


def test_a_share_of_bad_files_ends_the_run_and_leaves_no_shard(tiny_model_dir, tmp_path):
    write_bad(tmp_path / "clips")
    options = {"shard_clips": 100, "max_error_rate": 0.3}
    with pytest.raises(CodecError, match=r"shard 0: 4 of 11 utterances are bad, the first .*empty.wav \(decode: empty"):
        make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "clips", **options)
    assert list((tmp_path / "out" / "shards").iterdir()) == []
    # The limit is no part of the plan, so the run goes on with a higher one.
    make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "clips", **(options | {"max_error_rate": 0.4}))


def test_a_failing_encoder_costs_one_row(clips, tiny_model_dir, corpus, tmp_path, monkeypatch):
    encode = codec.Codec.encode

    def failing(self, wav, **options):
        if any(len(clip) == 14_400 for clip in wav):
            raise RuntimeError("by\ndesign")
        return encode(self, wav, **options)

    monkeypatch.setattr(codec.Codec, "encode", failing)
    rows = rows_of(make_corpus(tmp_path, tiny_model_dir, clips[0], batch_seconds=100.0))
    bad = [row for row in rows if row["error"] is not None]
    assert [(row["error_stage"], row["error"]) for row in bad] == [("encode", "RuntimeError: by design")]
    good = [row for row in rows_of(corpus) if row["id"] != bad[0]["id"]]
    assert [row for row in rows if row["error"] is None] == good


@pytest.mark.parametrize("moment", ["half of the table is written", "the file goes to the disk"])
def test_a_full_disk_in_the_middle_of_a_shard(moment, clips, corpus, tiny_model_dir, tmp_path, monkeypatch):
    def full(file, *content):
        if content:
            file.write(b"PAR1")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    make_corpus(tmp_path, tiny_model_dir, clips[0])
    for path in (tmp_path / "shards").glob("000001.*"):
        path.unlink()
    (tmp_path / "corpus.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(*((shard_module, "write_table", full) if "half" in moment else (durable.os, "fsync", full)))
        with pytest.raises(CodecError, match=r"000001.parquet: cannot be written \(no space left on device\); make room"):
            make_corpus(tmp_path, tiny_model_dir, clips[0])
    assert not list((tmp_path / "shards").glob("*000001*"))
    make_corpus(tmp_path, tiny_model_dir, clips[0])
    assert files_of(tmp_path) == files_of(corpus)


def test_two_recordings_of_one_name(tiny_model_dir, tmp_path):
    for suffix in (".wav", ".flac"):
        write_clips(tmp_path / "clips", (0.1,), suffix)
    with pytest.raises(CodecError, match=r"two utterances have the id 'a/clip0': .*clip0.flac and .*clip0.wav; rename one"):
        make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "clips")


def test_a_source_that_lost_or_changed_files(tiny_model_dir, tmp_path):
    paths = write_clips(tmp_path / "clips")
    folder = make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "clips")
    (folder / "shards" / "000000.json").unlink()
    kept = paths[0].read_bytes()
    paths[0].write_bytes(kept + b"more")
    paths[1].unlink()
    with pytest.raises(CodecError, match=rf"{paths[0]} and 1 more: gone or changed since the plan was made; restore it"):
        make_corpus(folder, tiny_model_dir, tmp_path / "clips")
    assert not (folder / "shards" / "000000.json").exists()


def test_a_plan_of_other_settings(clips, corpus, tiny_model_dir, other_model_dir, tmp_path):
    with pytest.raises(CodecError, match=r"holds tokens of model \w+, this is \w+; load that model"):
        make_corpus(corpus, other_model_dir, clips[0])
    with pytest.raises(CodecError, match=r"was planned with codebook_sizes .*, now it is .*; give the same"):
        make_corpus(corpus, tiny_model_dir, clips[0], codebooks=2)
    with pytest.raises(CodecError, match=r"was planned with shard_clips 3, now it is 4"):
        make_corpus(corpus, tiny_model_dir, clips[0], shard_clips=4)
    with pytest.raises(CodecError, match=r"was planned with source '.*, now it is '.*; give the same"):
        make_corpus(corpus, tiny_model_dir, tmp_path)


@pytest.fixture
def copied(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "copied")
    return tmp_path / "copied"


def test_a_newer_version_with_more_settings_goes_on(copied, corpus, clips, tiny_model_dir, monkeypatch):
    """Its files say what the plan says, so that all shards are alike."""
    (copied / "shards" / "000001.json").unlink()
    monkeypatch.setattr("codec.corpora.run.to_dict", lambda config: {"new": "setting"})
    monkeypatch.setattr("codec.corpora.run.__version__", "99.0")
    make_corpus(copied, tiny_model_dir, clips[0])
    assert files_of(copied) == files_of(corpus)


def test_a_plan_that_was_edited(copied, clips, tiny_model_dir):
    (copied / "shards" / "000001.json").unlink()
    lines = (copied / "plan" / "000001.jsonl").read_bytes()
    (copied / "plan" / "000001.jsonl").write_bytes(lines.replace(b"clip", b"klip"))
    with pytest.raises(CodecError, match=r"000001.jsonl: changed since the plan was made"):
        make_corpus(copied, tiny_model_dir, clips[0])


def test_a_shard_of_another_model_or_plan_in_the_folder(copied, clips, tiny_model_dir, other_model_dir, tmp_path):
    other = make_corpus(tmp_path / "other", other_model_dir, clips[0])
    (copied / "plan").rename(tmp_path / "plan")
    shutil.copytree(tmp_path / "plan", copied / "plan")
    for name in ("000001.json", "000001.parquet"):
        shutil.copy(other / "shards" / name, copied / "shards" / name)
    with pytest.raises(CodecError, match=r"000001.json: the shard is of model \w+, the corpus of \w+; take it out"):
        make_corpus(copied, tiny_model_dir, clips[0])
    for name in ("json", "parquet"):
        shutil.copy(copied / "shards" / f"000002.{name}", copied / "shards" / f"000001.{name}")
    with pytest.raises(CodecError, match="000001.json: the shard is of another plan"):
        make_corpus(copied, tiny_model_dir, clips[0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: (out / "shards" / "000001.parquet").unlink(), "000001.parquet: missing or damaged, though"),
        (lambda out: (out / "shards" / "000001.json").write_text("{"), "000001.json: no report of a shard"),
        (lambda out: (out / "plan.json").write_text("{"), "plan.json: damaged"),
        (lambda out: (out / "plan.json").write_text("[]"), "plan.json: no plan of a corpus"),
        (lambda out: (out / "plan.json").unlink(), "holds corpus.json but no plan.json; choose an empty folder"),
    ],
)
def test_a_damaged_corpus(spoil, message, copied, clips, tiny_model_dir):
    spoil(copied)
    with pytest.raises(CodecError) as caught:
        make_corpus(copied, tiny_model_dir, clips[0])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unfinished_file_of_a_killed_process_is_taken_over(copied, corpus, clips, tiny_model_dir):
    (copied / "shards" / "000001.json").unlink()
    (copied / "shards" / ".000001.json.part").write_bytes(b"half a re")
    make_corpus(copied, tiny_model_dir, clips[0])
    assert files_of(copied) == files_of(corpus)


def test_a_planning_that_was_stopped_leaves_nothing(corpus, clips, tiny_model_dir, tmp_path):
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "000007.jsonl").write_bytes(b"{}\n")
    (tmp_path / "plan" / ".000008.jsonl.part").write_bytes(b"{")
    make_corpus(tmp_path, tiny_model_dir, clips[0])
    assert files_of(tmp_path) == files_of(corpus)


def test_a_source_may_be_named_from_another_folder(corpus, clips, tiny_model_dir, monkeypatch):
    monkeypatch.chdir(clips[0].parent)
    make_corpus(corpus, tiny_model_dir, clips[0].name)


def test_two_at_one_file_write_one_after_the_other(tmp_path):
    order, begun = [], threading.Event()

    def write(content: bytes) -> None:
        with durable.durable_file(tmp_path / "a") as file:
            order.append(content)
            if len(order) == 1:
                begun.set()
                time.sleep(0.2)
            file.write(content)
            order.append(content)

    first = threading.Thread(target=write, args=(b"first, and longer",))
    first.start()
    begun.wait()
    write(b"second")
    first.join()
    assert order == [b"first, and longer"] * 2 + [b"second"] * 2
    assert (tmp_path / "a").read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_batches_are_larger_on_a_gpu_unless_it_is_said_how_large():
    assert [BatchConfig().seconds_on(device) for device in ("cpu", "cuda")] == [20, 600]
    assert BatchConfig(7.0).seconds_on("cuda") == 7


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 60))
def test_batches_hold_every_clip_once_within_the_budget(lengths, budget):
    window = [(index, torch.zeros(length)) for index, length in enumerate(lengths)]
    made = list(batches(window, budget))
    assert sorted(index for batch in made for index, _ in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) == 1 or len(batch) * max(len(wav) for _, wav in batch) <= budget


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 30) | st.none(), max_size=40), st.integers(1, 10), st.floats(0.001, 0.02))
def test_shards_hold_every_utterance_once_in_order_within_both_limits(seconds, clips, hours):
    utterances = [Utterance(str(i), "x", seconds=value) for i, value in enumerate(seconds)]
    shards = list(cut(utterances, Sizes(clips, hours)))
    assert [one for shard in shards for one in shard] == utterances
    for shard in shards:
        assert 1 <= len(shard) <= clips
        assert len(shard) == 1 or sum(one.seconds or 0 for one in shard) <= 3600 * hours + 1e-6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sizes(shard_clips=0), "shard_clips and shard_hours must be above 0"),
        (lambda: BatchConfig(batch_seconds=0), "batch_seconds and decode_threads must be above 0"),
        (lambda: TokenizeConfig(max_error_rate=1.5), "max_error_rate must lie in 0..1, got 1.5"),
        (lambda: TokenizeConfig(workers=0), "workers and threads must be 1 or more"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(CodecError, match=message):
        make()


def test_reasons_are_one_line_without_the_path():
    error = audio.BadUtterance("decode", CodecError("a.wav: cut\nshort"), "a.wav")
    assert (error.stage, error.message) == ("decode", "cut short")
    assert audio.BadUtterance("open", PermissionError()).message == "PermissionError: PermissionError"
