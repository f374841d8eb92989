"""Corpora in a bucket of S3 whose server fails now and then: the rows are those of local files, or the run says why."""

import tarfile

import numpy as np
import pytest
from corpora_tools import codes_of, config_of, files_of, make_corpus, rows_of, write_clips

from codec import CodecError
from codec.corpora import places
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
