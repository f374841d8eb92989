"""Corpora in a bucket of S3 whose server fails now and then: the rows are those of local files, or the run says why."""

import json
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from command import run, run_ok
from corpora_tools import codes_of, config_of, files_of, make_corpus, rows_of, write_clips

from codec import CodecError
from codec.corpora import places
from codec.corpora.exports import ExportConfig, export_corpus
from codec.corpora.remote import RemotePath, folder_at
from codec.corpora.run import tokenize

fsspec = pytest.importorskip("fsspec")
s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

from s3_server import BUCKET, Faults, s3_server


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return folder, write_clips(folder, suffix=".flac")


@pytest.fixture(scope="module")
def server():
    faults = Faults()
    with s3_server(faults) as address:
        yield faults, address


@pytest.fixture
def bucket(server, clips, monkeypatch):
    """The clips as objects, the faults that tests set, and no second of waiting."""
    faults, address = server
    for name, value in {
        "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(places, "RETRIES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    if not store.exists(BUCKET):
        store.mkdir(BUCKET)
        for path in clips[1]:
            store.pipe(f"{BUCKET}/{path.relative_to(clips[0]).as_posix()}", path.read_bytes())
    yield faults, f"s3://{BUCKET}"
    faults.waiting.clear()
    faults.met.clear()
    s3fs.S3FileSystem.clear_instance_cache()


def check(folder, clips, model) -> None:
    rows = rows_of(folder)
    assert [row["source"] for row in rows] == [f"s3://{BUCKET}/{path.relative_to(clips[0]).as_posix()}" for path in clips[1]]
    for row, path in zip(rows, clips[1], strict=True):
        assert row["error"] is None
        assert np.array_equal(codes_of(row), model.encode(path).codes[0].numpy())


def test_faults_that_pass_leave_no_trace(bucket, clips, tiny_model, tiny_model_dir, tmp_path):
    faults, source = bucket
    calm = make_corpus(tmp_path / "calm", tiny_model_dir, source)
    check(calm, clips, tiny_model)
    faults.waiting = {"clip0.flac": ["503"], "clip1.flac": ["cut", "500"], "clip2.flac": ["slow"], "clip5.flac": ["cut", "cut", "503"]}
    rough = make_corpus(tmp_path / "rough", tiny_model_dir, source, decode_threads=2)
    assert files_of(rough) == files_of(calm)
    assert len(faults.met) == 7


@pytest.mark.parametrize("fault", ["503", "cut"])
def test_a_fault_that_stays_ends_the_run_which_goes_on_later(fault, bucket, clips, tiny_model, tiny_model_dir, tmp_path):
    faults, source = bucket
    faults.waiting = {"clip5.flac": [fault] * 50}
    with pytest.raises(CodecError, match=r"^s3://speech/b/clip5.flac: cannot be read \(.*\); run the same command again$"):
        make_corpus(tmp_path, tiny_model_dir, source)
    assert [path.name for path in sorted((tmp_path / "shards").iterdir())] == ["000000.json", "000000.parquet", "000001.json", "000001.parquet"]
    faults.waiting.clear()
    check(make_corpus(tmp_path, tiny_model_dir, source), clips, tiny_model)


def test_an_object_that_is_gone_since_ends_the_run(bucket, tiny_model_dir, tmp_path):
    faults, source = bucket
    faults.waiting = {"clip0.flac": ["404"]}
    with pytest.raises(CodecError, match="clip0.flac: gone or changed since the plan was made"):
        make_corpus(tmp_path, tiny_model_dir, source)


def test_a_listing_that_fails(bucket, clips, tiny_model, tiny_model_dir, tmp_path):
    """Tried again, and then the run ends: half a plan would leave out recordings without a word."""
    faults, source = bucket
    faults.waiting = {"LIST": ["503", "cut"]}
    check(make_corpus(tmp_path / "out", tiny_model_dir, source), clips, tiny_model)
    assert len(faults.met) == 2
    faults.waiting = {"LIST": ["500"] * 50}
    with pytest.raises(CodecError, match="s3://speech: cannot be "):
        make_corpus(tmp_path / "again", tiny_model_dir, source)
    assert not (tmp_path / "again" / "plan.json").exists()


def test_a_tar_is_read_on_where_the_connection_broke(bucket, clips, tiny_model, tiny_model_dir, tmp_path):
    faults, _ = bucket
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for path in clips[1]:
            tar.add(path, path.name)
    store = fsspec.filesystem("s3")
    store.mkdir("tars")
    store.put(str(tmp_path / "all.tar"), "tars/all.tar")
    faults.waiting = {"all.tar": ["cut", "503", "slow", "cut", "500", "cut"]}
    rows = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, "s3://tars/all.tar"))
    assert len(faults.met) == 6
    assert [row["source"] for row in rows] == [f"s3://tars/all.tar!{path.name}" for path in clips[1]]
    for row, path in zip(rows, clips[1], strict=True):
        assert np.array_equal(codes_of(row), tiny_model.encode(path).codes[0].numpy())


def test_no_such_bucket(bucket, tiny_model_dir, tmp_path):
    with pytest.raises(CodecError, match="s3://absent: no such folder"):
        tokenize(config_of(tiny_model_dir, "s3://absent"), tmp_path)


def objects(store, url) -> dict[str, bytes]:
    """Every object below a URL, as :func:`files_of` has the files of a folder."""
    store.invalidate_cache()
    root = url.removeprefix("s3://")
    return {path[len(root) + 1 :]: store.cat_file(path) for path in store.find(root)}


@pytest.fixture
def store(bucket):
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    yield store
    store.invalidate_cache()
    if store.exists("out"):
        store.rm("out", recursive=True)


@pytest.fixture
def output(store):
    store.mkdir("out")
    return "s3://out/corpus"


@pytest.fixture(scope="module")
def local(clips, tiny_model_dir, tmp_path_factory):
    """What a folder on a disk holds after one run."""
    folder = make_corpus(tmp_path_factory.mktemp("local"), tiny_model_dir, clips[0])
    return {name: data for name, data in files_of(folder).items() if name != ".lock"}


def test_a_corpus_in_a_bucket_is_the_one_on_a_disk(output, store, local, clips, tiny_model_dir, tmp_path, capfd):
    run_ok(capfd, "tokenize", clips[0], output, "--model", tiny_model_dir, "--shard-clips", 3, "--workers", 2)
    assert objects(store, output) == local
    shown = json.loads(run_ok(capfd, "corpus", "info", output).out)
    assert (shown["shards_done"], shown["utterances"], shown["bad_utterances"]) == (3, 7, 0)
    export_corpus(ExportConfig(format="jsonl"), folder_at(output), tmp_path / "ids")
    on_disk = make_corpus(tmp_path / "again", tiny_model_dir, clips[0])
    export_corpus(ExportConfig(format="jsonl"), on_disk, tmp_path / "same")
    assert files_of(tmp_path / "ids") == files_of(tmp_path / "same")


@pytest.mark.parametrize("writes", [1, 3, 4, 5, 10])
def test_stopped_at_any_write_it_gives_what_one_run_gives(
    writes, output, store, local, clips, tiny_model_dir, monkeypatch
):
    """Three lists, the plan, three shards with their reports, the sums: killed before one of them, or right after it."""
    write, done = RemotePath.write_bytes, []

    def stop(self, data):
        done.append(self.name)
        if len(done) == writes + 1:
            if writes % 2:
                write(self, data)
            raise KeyboardInterrupt
        write(self, data)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RemotePath, "write_bytes", stop)
        tokenize(config_of(tiny_model_dir, clips[0]), output)
    tokenize(config_of(tiny_model_dir, clips[0]), output)
    assert objects(store, output) == local


def test_a_process_that_was_killed_leaves_nothing_in_the_way(
    bucket, output, store, local, clips, tiny_model_dir, tmp_path
):
    command = [sys.executable, "-m", "codec", "tokenize", str(clips[0]), output, "--model", str(tiny_model_dir)]
    command += ["--shard-clips", "3", "--workers", "1"]
    faults, _ = bucket
    faults.waiting = {"plan.json": ["slow"] * 50}  # so that there is time to kill it
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        while process.poll() is None and not store.exists(f"{output}/plan.json"):
            store.invalidate_cache()
            time.sleep(0.02)
        process.kill()
        process.wait()
    faults.waiting.clear()
    left = objects(store, output)
    assert "plan.json" in left and "corpus.json" not in left, (tmp_path / "log").read_text()
    tokenize(config_of(tiny_model_dir, clips[0]), output)
    assert objects(store, output) == local


def test_ranks_share_a_bucket(output, store, local, clips, tiny_model_dir):
    config = config_of(tiny_model_dir, clips[0])
    # Both find no plan: the second one's lists take the place of the first one's, which are the same.
    with ThreadPoolExecutor(2) as pool:
        for run in [pool.submit(tokenize, config, output, (rank, 2)) for rank in range(2)]:
            run.result()
    assert objects(store, output) == local


def test_a_bucket_that_does_not_answer_ends_the_run_which_goes_on_later(
    bucket, output, store, local, clips, tiny_model_dir
):
    faults, _ = bucket
    faults.waiting = {"plan.json": ["503"]}
    tokenize(config_of(tiny_model_dir, clips[0]), output)
    assert objects(store, output) == local
    faults.waiting = {"plan.json": ["503"] * 50}
    with pytest.raises(CodecError, match=r"^s3://out/corpus/plan.json: cannot be read \(.*\); run the same command again$"):
        tokenize(config_of(tiny_model_dir, clips[0]), output)


def test_a_bucket_that_is_not_there_or_holds_something_else(store, output, clips, tiny_model_dir, capfd):
    config = config_of(tiny_model_dir, clips[0])
    with pytest.raises(CodecError, match=r"s3://absent/corpus/plan/000000.jsonl: cannot be written \(.*\); make the bucket"):
        tokenize(config, "s3://absent/corpus")
    store.pipe("out/corpus/notes.txt", b"mine")
    with pytest.raises(CodecError, match="holds notes.txt but no plan.json"):
        tokenize(config, output)
    with pytest.raises(CodecError, match="two slashes"):
        tokenize(config, Path(output))
    result = run(capfd, "corpus", "export", output, "s3://out/ids")
    assert result.status == 1 and "exports go to a folder on a disk only" in result.error_lines[0]
