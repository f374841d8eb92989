"""What holds a corpus: each kind is written by its own library where there is one, and gives the tokens of its files."""

import functools
import http.server
import io
import json
import os
import sys
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from conftest import make_speech
from corpora_tools import codes_of, config_of, files_of, make_corpus, rows_of, write_clips
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codec import CodecError
from codec.audio.io import load_audio
from codec.corpora import places
from codec.corpora.audio import check_sources, read_wav
from codec.corpora.places import expand
from codec.corpora.run import tokenize
from codec.corpora.sources import SourceConfig, list_source
from codec.corpora.sources.kinds import kind_of
from codec.corpora.utterances import printable


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return folder, write_clips(folder, suffix=".flac")


@pytest.fixture(scope="module")
def expected(clips, tiny_model) -> dict[str, np.ndarray]:
    """Codes of each clip by its file's name."""
    return {path.stem: tiny_model.encode(path).codes[0].numpy() for path in clips[1]}


def check(rows: list[dict], expected: dict[str, np.ndarray]) -> None:
    assert {row["id"].rpartition("/")[2] for row in rows} == set(expected)
    for row in rows:
        assert row["error"] is None
        assert np.array_equal(codes_of(row), expected[row["id"].rpartition("/")[2]])


def write_manifest(path: Path, clips: list[Path], root: str) -> None:
    lines = [
        {"path": root + clip.relative_to(path.parent / root).as_posix() if root else str(clip), "seconds": 1.0, "speaker": "me", "text": "hi"}
        for clip in clips
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_manifest(clips, expected, tiny_model_dir, tmp_path):
    write_manifest(tmp_path / "all.jsonl", clips[1], "")
    rows = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "all.jsonl"))
    check(rows, expected)
    assert {(row["speaker"], row["text"]) for row in rows} == {("me", "hi")}


@pytest.mark.parametrize("url", [False, True])
def test_a_manifest_elsewhere_with_the_root_of_its_paths(url, clips, expected, tiny_model_dir, tmp_path):
    lines = [{"path": path.relative_to(clips[0]).as_posix(), "seconds": 1.0} for path in clips[1]]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    root = clips[0].as_uri() if url else os.path.relpath(clips[0])
    rows = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "all.jsonl", source_options={"root": root}))
    check(rows, expected)
    assert {row["id"] for row in rows} == {path.relative_to(clips[0]).with_suffix("").as_posix() for path in clips[1]}


def test_a_manifests_path_leads_where_the_system_says(tmp_path):
    """After a link, ``..`` is the folder above its target."""
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "real" / "deep", target_is_directory=True)
    for folder in ("real", "data"):
        soundfile.write(tmp_path / folder / "a.wav", make_speech(0.3, 16_000), 16_000)
    (tmp_path / "data" / "all.jsonl").write_text(json.dumps({"path": "link/../a.wav", "seconds": 0.3}) + "\n")
    (found,) = list_source(SourceConfig(str(tmp_path / "data" / "all.jsonl")))
    assert os.path.samefile(found.path, tmp_path / "real" / "a.wav")


def test_an_empty_root_is_refused_before_anything_is_written(clips, tiny_model_dir, tmp_path):
    write_manifest(tmp_path / "all.jsonl", clips[1], "")
    with pytest.raises(CodecError, match="the root is an empty name"):
        make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "all.jsonl", source_options={"root": ""})
    assert not (tmp_path / "out").exists()


def test_a_root_is_of_manifests_and_has_to_be_there(clips, tiny_model_dir, tmp_path):
    write_manifest(tmp_path / "all.jsonl", clips[1], "")
    for source, problem in ((clips[0], "is a folder; only the paths of manifests have a root"), (tmp_path / "all.jsonl", "no such folder")):
        with pytest.raises(CodecError, match=problem):
            list(list_source(SourceConfig(str(source), root=str(tmp_path / "nowhere"))))


def test_a_forgotten_root_is_named_before_anything_is_written(clips, tiny_model_dir, tmp_path):
    (tmp_path / "lists").mkdir()
    lines = [json.dumps({"path": clip.name, "seconds": 0.3}) for clip in clips[1]]
    (tmp_path / "lists" / "all.jsonl").write_text("\n".join(lines))
    with pytest.raises(CodecError, match=rf"none of its {len(lines)} files is there, such as .*{clips[1][0].name}; .*--root"):
        make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "lists" / "all.jsonl")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_path_of_no_file_is_refused_with_its_line(path, tmp_path):
    (tmp_path / "all.jsonl").write_text(json.dumps({"path": "a.wav", "seconds": 1.0}) + "\n" + json.dumps({"path": path, "seconds": 1.0}))
    with pytest.raises(CodecError, match=r"all\.jsonl:2: not a clip \(path .* names no file\)"):
        list(list_source(SourceConfig(str(tmp_path / "all.jsonl"))))


def test_a_manifest_of_files_that_are_not_there(tiny_model_dir, tmp_path):
    """Missing when planned, they are bad rows; a share of them ends the run."""
    paths = write_clips(tmp_path)
    paths[1].unlink()
    write_manifest(tmp_path / "all.jsonl", paths, "")
    rows = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "all.jsonl"))
    assert [(row["error_stage"], row["error"]) for row in rows if row["error"]] == [
        ("open", f"FileNotFoundError: [Errno 2] No such file or directory: '{paths[1]}'")
    ]
    with pytest.raises(CodecError, match="1 of 3 utterances are bad"):
        make_corpus(tmp_path / "strict", tiny_model_dir, tmp_path / "all.jsonl", max_error_rate=0.0)


@pytest.mark.parametrize("kind", ["folder", "manifest"])
def test_urls_of_fsspec(kind, clips, expected, tiny_model_dir, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in clips[1]:
        memory.pipe(f"/{tmp_path.name}/{path.relative_to(clips[0]).as_posix()}", path.read_bytes())
    source = f"memory://{tmp_path.name}"
    if kind == "manifest":
        lines = [{"path": path.relative_to(clips[0]).as_posix(), "seconds": 1.0} for path in clips[1]]
        memory.pipe(f"/{tmp_path.name}/all.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
        source += "/all.jsonl"
    folder = make_corpus(tmp_path / "out", tiny_model_dir, source)
    rows = rows_of(folder)
    check(rows, expected)
    assert rows[0]["source"] == f"memory://{tmp_path.name}/a/clip0.flac"
    # What is gone from there is noticed too.
    (folder / "shards" / "000000.json").unlink()
    memory.rm(f"/{tmp_path.name}/a/clip0.flac")
    with pytest.raises(CodecError, match="a/clip0.flac: gone or changed"):
        make_corpus(folder, tiny_model_dir, source)


def test_a_network_that_fails_is_tried_again_and_then_ends_the_run(clips, expected, tiny_model_dir, tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in clips[1]:
        memory.pipe(f"/{tmp_path.name}/{path.name}", path.read_bytes())
    monkeypatch.setattr(places, "RETRIES", (0.0, 0.0))
    failures = iter([TimeoutError("slow"), ConnectionResetError("reset"), None, OSError("5xx"), *[None] * 20])
    cat_file = memory.cat_file

    def failing(*place, **part):
        if (error := next(failures)) is not None:
            raise error
        return cat_file(*place, **part)

    monkeypatch.setattr(type(memory), "cat_file", staticmethod(failing))
    check(rows_of(make_corpus(tmp_path / "out", tiny_model_dir, f"memory://{tmp_path.name}")), expected)
    failures = iter([TimeoutError("slow")] * 3)
    with pytest.raises(CodecError, match=r"memory://.*: cannot be read \(slow\); run the same command again"):
        make_corpus(tmp_path / "again", tiny_model_dir, f"memory://{tmp_path.name}")
    # What may not be read stays that way, and is a row.
    failures = iter([PermissionError("no"), *[None] * 20])
    rows = rows_of(make_corpus(tmp_path / "again", tiny_model_dir, f"memory://{tmp_path.name}"))
    assert [(row["error_stage"], row["error"]) for row in rows if row["error"]] == [("open", "PermissionError: no")]


def write_tar(path: Path, members: dict[str, bytes], form: int = tarfile.DEFAULT_FORMAT) -> None:
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))


def test_tars_of_webdataset(clips, expected, tiny_model_dir, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.ShardWriter(f"{tmp_path}/train-%03d.tar", maxcount=3, verbose=0) as writer:
        for path in clips[1]:
            writer.write({"__key__": path.stem, "flac": path.read_bytes(), "txt": "hi", "json": {"speaker": "me", "text": "no"}})
    rows = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, f"{tmp_path}/train-{{000..002}}.tar"))
    check(rows, expected)
    assert {(row["speaker"], row["text"]) for row in rows} == {("me", "hi")}
    assert rows[0]["source"].endswith("train-000.tar!clip0.flac")
    # The same tars as a folder, and as a glob.
    for source in (tmp_path, tmp_path / "train-*.tar"):
        assert [one.id for one in list_source(SourceConfig(str(source), kind="webdataset"))] == [row["id"] for row in rows]


def test_fields_of_a_samples_json(tiny_model_dir, clips, tmp_path):
    content = clips[1][0].read_bytes()
    write_tar(tmp_path / "a.tar", {"x/1.flac": content, "x/1.json": b'{"said": "hello", "who": 7}', "x/2.cls": b"3"})
    [utterance] = list_source(SourceConfig(str(tmp_path / "a.tar"), text_column="said", speaker_column="who"))
    assert (utterance.id, utterance.text, utterance.speaker) == ("x/1", "hello", "7")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"1.flac": b"", "1.wav": b""}, "1.wav: a second recording of sample 1"),
        ({"1.flac": b"", "1.json": b"{"}, r"a.tar!1.json: not JSON"),
        ({"1.txt": b""}, "no utterances in this webdataset"),
        ({"1.flac": b"", "2.flac": b"", "./1.flac": b""}, "two utterances have the id '1'"),
    ],
)
def test_tars_that_cannot_be_meant(members, message, tmp_path):
    write_tar(tmp_path / "a.tar", members)
    with pytest.raises(CodecError, match=message):
        list(list_source(SourceConfig(str(tmp_path / "a.tar"))))


def test_tars_that_cannot_be_read(tmp_path):
    with pytest.raises(CodecError, match=r"a-1.tar: cannot be read \(no such file"):
        list(list_source(SourceConfig(f"{tmp_path}/a-{{1..2}}.tar")))
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz"):
        pass
    with pytest.raises(CodecError, match=r"a.tar.gz: cannot be read as a tar .*unpack a compressed one"):
        list(list_source(SourceConfig(f"{tmp_path}/a.tar.gz")))


def test_a_tar_that_was_cut_since(clips, tiny_model_dir, tmp_path):
    write_tar(tmp_path / "a.tar", {f"{path.stem}.flac": path.read_bytes() for path in clips[1]})
    folder = make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "a.tar")
    (folder / "shards" / "000002.json").unlink()
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:20_000])
    with pytest.raises(CodecError, match="a.tar: gone or changed"):
        make_corpus(folder, tiny_model_dir, tmp_path / "a.tar")


TAR_NAMES = ["a.wav", "ü/b.wav", "d" * 90 + "/" + "e" * 90 + ".wav", "語" * 30 + ".wav", os.fsdecode(b"\xff.wav")]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    before=st.lists(st.sampled_from(TAR_NAMES), min_size=1, unique=True),
    after=st.lists(st.sampled_from([*TAR_NAMES, "c.wav", "g" * 120 + ".wav"]), min_size=1, unique=True),
)
@example(form=tarfile.PAX_FORMAT, before=["a.wav"], after=["c.wav", "a.wav"])
@example(form=tarfile.GNU_FORMAT, before=[TAR_NAMES[2], "a.wav"], after=[TAR_NAMES[2], "a.wav", "c.wav"])
def test_a_recording_of_a_tar_is_the_one_that_was_listed_or_the_run_ends(form, before, after, tmp_path):
    """Packed anew in another order, or with more. All recordings are of one size, as crops are."""
    tar = tmp_path / "a.tar"
    contents = {name: wav_of(number / 10) for number, name in enumerate([*TAR_NAMES, "c.wav", "g" * 120 + ".wav"])}

    def listed(names):
        write_tar(tar, {name: contents[name] for name in names}, form)
        return list(list_source(SourceConfig(str(tar))))

    planned = listed(before)
    check_sources(planned)
    found = {(one.member, one.offset) for one in listed(after)}
    url = [replace(one, path=tar.as_uri()) for one in planned]
    if {(one.member, one.offset) for one in planned} <= found:
        check_sources(planned)
    else:
        with pytest.raises(CodecError, match=r"a\.tar: gone or changed since the plan was made"):
            check_sources(planned)
    for one, remote in zip(planned, url, strict=True):
        if (one.member, one.offset) in found:
            assert torch.equal(read_wav(one, 16_000), load_audio(contents[one.member]).wav)
            assert torch.equal(read_wav(remote, 16_000), load_audio(contents[one.member]).wav)
        else:
            with pytest.raises(CodecError, match=r"a\.tar: gone or changed since the plan was made"):
                read_wav(remote, 16_000)


def wav_of(value: float) -> bytes:
    """A recording whose samples all are one value."""
    file = io.BytesIO()
    soundfile.write(file, np.full(800, value, np.float32), 16_000, format="WAV")
    return file.getvalue()


@pytest.mark.parametrize("url", [False, True])
def test_a_tar_that_was_packed_anew_since(url, clips, expected, tiny_model_dir, tmp_path):
    contents = {f"{path.stem}.flac": path.read_bytes() for path in clips[1]}
    write_tar(tmp_path / "a.tar", contents)
    source = (tmp_path / "a.tar").as_uri() if url else tmp_path / "a.tar"
    folder = make_corpus(tmp_path / "out", tiny_model_dir, source)
    made = files_of(folder)
    for path in (folder / "shards").glob("000001.*"):
        path.unlink()
    write_tar(tmp_path / "a.tar", {"new.flac": contents["clip0.flac"]} | contents)
    with pytest.raises(CodecError, match=r"a\.tar: gone or changed since the plan was made; restore it"):
        make_corpus(folder, tiny_model_dir, source)
    assert not list((folder / "shards").glob("000001.*"))
    write_tar(tmp_path / "a.tar", contents)
    assert files_of(make_corpus(folder, tiny_model_dir, source)) == made


@pytest.mark.parametrize("embedded", [True, False])
def test_a_dataset_on_disk(embedded, clips, expected, tiny_model_dir, tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {
        "id": [path.stem for path in clips[1]],
        "audio": [{"path": str(path), "bytes": path.read_bytes() if embedded else None} for path in clips[1]],
        "text": ["hi"] * len(clips[1]),
        "speaker_id": list(range(len(clips[1]))),
    }
    dataset = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))
    datasets.DatasetDict({"train": dataset, "test": dataset.select([0])}).save_to_disk(str(tmp_path / "data"))
    with pytest.raises(CodecError, match="splits test, train; choose one with --split"):
        list(list_source(SourceConfig(str(tmp_path / "data"))))
    made = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "data", source_options={"split": "train"}))
    check(made, expected)
    assert [row["speaker"] for row in made] == [str(number) for number in range(len(made))]
    assert made[3]["source"].endswith("data/train#3")
    with pytest.raises(CodecError, match="no column 'sound'; set --audio-column to one of id, audio, text, speaker_id"):
        list(list_source(SourceConfig(str(tmp_path / "data" / "train"), audio_column="sound")))


def write_tables(folder: Path, clips: list[Path]) -> None:
    """As the Hub has a dataset: two files of the split train, in row groups of 2, and one of test."""
    datasets = pytest.importorskip("datasets")
    rows = {
        "audio": [{"path": path.name, "bytes": path.read_bytes()} for path in clips],
        "text": ["hi"] * len(clips),
        "id": [path.stem for path in clips],
    }
    dataset = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))
    folder.mkdir(parents=True)
    for name, part in {"train-00000-of-00002": range(4), "train-00001-of-00002": range(4, len(clips)), "test-00000-of-00001": range(1)}.items():
        dataset.select(part).to_parquet(folder / f"{name}.parquet", batch_size=2)


@pytest.mark.parametrize("place", ["folder", "glob", "memory"])
def test_parquet_files_of_a_dataset(place, clips, expected, tiny_model_dir, tmp_path):
    write_tables(tmp_path / "repo" / "data", clips[1])
    source, split = str(tmp_path / "repo"), "train"
    if place == "glob":
        source, split = f"{source}/data/train-*.parquet", None
    if place == "memory":
        memory = pytest.importorskip("fsspec").filesystem("memory")
        memory.put(source, f"/{tmp_path.name}/", recursive=True)
        source = f"memory://{tmp_path.name}"
    options = {"split": split}
    rows = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, source, source_options=options, decode_threads=2))
    check(rows, expected)
    assert {row["text"] for row in rows} == {"hi"}
    assert rows[5]["source"].endswith("data/train-00001-of-00002.parquet#1")


def test_parquet_files_that_cannot_be_meant(clips, tiny_model_dir, tmp_path):
    write_tables(tmp_path / "data", clips[1])

    def listed(name="data", **options):
        return list(list_source(SourceConfig(f"{tmp_path}/{name}", **options)))

    with pytest.raises(CodecError, match="no files of the split 'dev'; found test, train"):
        listed(split="dev")
    with pytest.raises(CodecError, match="no column 'sound'; set --audio-column to one of audio, text, id"):
        listed(audio_column="sound")
    with pytest.raises(CodecError, match="two utterances have the id 'clip0'"):
        listed()
    assert [one.id for one in listed(split="test")] == ["clip0"]
    folder = make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "data", source_options={"split": "test"})
    (folder / "shards" / "000000.json").unlink()
    (tmp_path / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(CodecError, match="test-00000-of-00001.parquet: gone or changed"):
        make_corpus(folder, tiny_model_dir, tmp_path / "data", source_options={"split": "test"})
    with pytest.raises(CodecError, match=r"test-00000-of-00001.parquet: cannot be read as parquet \("):
        listed("data/test-00000-of-00001.parquet")


@pytest.mark.parametrize("url", [False, True])
def test_a_table_that_grew_since(url, clips, tiny_model_dir, tmp_path):
    """Where its rows have other recordings."""
    rows = [{"audio": {"bytes": path.read_bytes(), "path": None}} for path in clips[1]]
    table = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist(rows), table)
    source = table.as_uri() if url else table
    folder = make_corpus(tmp_path / "out", tiny_model_dir, source)
    for path in (folder / "shards").glob("000001.*"):
        path.unlink()
    pq.write_table(pa.Table.from_pylist([{"audio": {"bytes": wav_of(0.5), "path": None}}, *rows]), table)
    with pytest.raises(CodecError, match=r"train\.parquet: gone or changed since the plan was made"):
        make_corpus(folder, tiny_model_dir, source)
    assert not list((folder / "shards").glob("000001.*"))


@pytest.fixture
def web(clips):
    """The folder of the clips on a web server on loopback."""
    handler = functools.partial(QuietHandler, directory=str(clips[0]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_rows_that_name_their_recordings_by_url(scheme, web, clips, expected, tiny_model_dir, tmp_path):
    """Of which a dead link is a bad row, since nothing says that it was ever alive."""
    if scheme == "http":
        pytest.importorskip("aiohttp")
    root = web if scheme == "http" else clips[0].as_uri()
    names = [path.relative_to(clips[0]).as_posix() for path in clips[1]]
    rows = [{"id": Path(name).stem, "audio": {"bytes": None, "path": f"{root}/{name}"}} for name in [*names, "gone.flac"]]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    made = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "train.parquet"))
    check(made[:-1], expected)
    assert (made[-1]["error_stage"], made[-1]["error"]) == ("open", f"{root}/gone.flac: no such file")


@pytest.fixture(scope="module")
def cuts(clips):
    lhotse = pytest.importorskip("lhotse")
    recordings = [lhotse.Recording.from_file(path) for path in clips[1]]
    cuts = [lhotse.MonoCut(one.id, 0, one.duration, 0, recording=one) for one in recordings]
    for cut in cuts:
        cut.supervisions.append(lhotse.SupervisionSegment(cut.id, cut.recording_id, 0, cut.duration, text="hi", speaker="me"))
    return lhotse.CutSet.from_cuts(cuts)


def test_cuts_of_lhotse(cuts, expected, tiny_model_dir, tmp_path):
    cuts.to_file(tmp_path / "cuts.jsonl.gz")
    rows = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "cuts.jsonl.gz"))
    check(rows, expected)
    assert {(row["speaker"], row["text"]) for row in rows} == {("me", "hi")}


def test_shar_of_lhotse(cuts, expected, tiny_model_dir, tmp_path):
    (tmp_path / "shar").mkdir()
    cuts.to_shar(tmp_path / "shar", fields={"recording": "flac"}, shard_size=3)
    rows = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "shar"))
    check(rows, expected)
    assert {(row["speaker"], row["text"]) for row in rows} == {("me", "hi")}


def test_parts_of_a_recording_are_the_samples_that_lhotse_loads(cuts, tiny_model, tiny_model_dir, tmp_path):
    lhotse = pytest.importorskip("lhotse")
    longest = max(cuts, key=lambda cut: cut.duration)
    parts = [longest.truncate(offset=offset, duration=duration).with_id(str(i)) for i, (offset, duration) in enumerate([(0.0, 0.5), (0.123, 0.77), (2.0, 0.6)])]
    lhotse.CutSet.from_cuts(parts).to_file(tmp_path / "cuts.jsonl")
    rows = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "cuts.jsonl"))
    for row, part in zip(rows, parts, strict=True):
        alone = tiny_model.encode(part.load_audio(), sample_rate=part.sampling_rate)
        assert np.array_equal(codes_of(row), alone.codes[0].numpy())
    assert rows[1]["source"].endswith("@0.123+0.77")


def test_cuts_that_are_more_than_a_part_of_a_file(cuts, tmp_path):
    lhotse = pytest.importorskip("lhotse")
    first = next(iter(cuts))
    changed = {
        "only MonoCut can be read": first.append(first),
        "the recording has transforms": first.perturb_speed(1.1),
    }
    for message, cut in changed.items():
        lhotse.CutSet.from_cuts([cut]).to_file(tmp_path / "cuts.jsonl")
        with pytest.raises(CodecError, match=message):
            list(list_source(SourceConfig(str(tmp_path / "cuts.jsonl"))))
    from_a_pipe = first.to_dict()
    from_a_pipe["recording"]["sources"][0]["type"] = "command"
    (tmp_path / "cuts.jsonl").write_text(json.dumps(from_a_pipe))
    with pytest.raises(CodecError, match="cuts.jsonl:1: the recording is command; cuts of one file or URL each can be read"):
        list(list_source(SourceConfig(str(tmp_path / "cuts.jsonl"))))
    (tmp_path / "cuts.jsonl.gz").write_bytes(b"\x1f\x8b no more")
    with pytest.raises(CodecError, match="cuts.jsonl.gz: damaged"):
        list(list_source(SourceConfig(str(tmp_path / "cuts.jsonl.gz"))))


WHOLE_CUT = {
    "id": "x", "type": "MonoCut", "start": 0, "duration": 0.1, "supervisions": [{"text": "hi", "speaker": "me"}],
    "recording": {"id": "r", "duration": 0.1, "sources": [{"type": "file", "source": "/a.wav"}]},
}  # fmt: skip


def test_a_speaker_of_a_cut_may_be_a_number(tmp_path):
    (tmp_path / "cuts.jsonl").write_text(json.dumps(WHOLE_CUT | {"supervisions": [{"text": "hi", "speaker": 7}]}))
    [utterance] = list_source(SourceConfig(str(tmp_path / "cuts.jsonl")))
    assert (utterance.text, utterance.speaker) == ("hi", "7")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recording": {"sources": WHOLE_CUT["recording"]["sources"]}}, r"\('duration' is missing\)"),
        ({"recording": {"duration": 0.1, "sources": [{"type": "file"}]}}, r"\('source' is missing\)"),
        ({"recording": "r"}, r"\('str' object has no attribute 'get'\)"),
        ({"start": None}, r"\(float\(\) argument must be"),
        ({"duration": "long"}, r"\(unsupported operand"),
        ({"supervisions": ["hi"]}, r"\('str' object has no attribute 'get'\)"),
    ],
)
def test_damaged_cuts_are_refused_with_their_line(change, message, tmp_path):
    (tmp_path / "cuts.jsonl").write_text(f"{json.dumps(WHOLE_CUT)}\n{json.dumps(WHOLE_CUT | {'id': 'y'} | change)}\n")
    with pytest.raises(CodecError, match=rf"cuts\.jsonl:2: not a cut of Lhotse {message}.*; write the cuts again$"):
        list(list_source(SourceConfig(str(tmp_path / "cuts.jsonl"))))


def test_a_part_beyond_the_end_of_its_recording_is_a_bad_row(cuts, tiny_model_dir, tmp_path):
    first = json.loads(json.dumps(next(iter(cuts)).to_dict()))
    (tmp_path / "cuts.jsonl").write_text(json.dumps(first | {"duration": 9.0}) + "\n")
    [row] = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "cuts.jsonl", max_error_rate=1.0))
    assert (row["error_stage"], row["error"]) == ("decode", "ends at 0.300 s, but the part reaches to 9.000 s")


def test_a_folder_of_nothing(tmp_path):
    with pytest.raises(CodecError, match="no utterances in this folder; --kind says what it is"):
        list(list_source(SourceConfig(str(tmp_path))))
    with pytest.raises(CodecError, match="no such folder; name a folder of recordings"):
        kind_of(str(tmp_path / "absent"))


def test_names_with_ranges():
    assert expand("a-{08..10}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert expand("{1..2}/{0..1}") == ["1/0", "1/1", "2/0", "2/1"]
    assert expand("plain.tar") == ["plain.tar"]


def test_an_unknown_scheme(tiny_model_dir, tmp_path):
    with pytest.raises(CodecError, match="nowhere://x"):
        tokenize(config_of(tiny_model_dir, "nowhere://x/"), tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes as names")
def test_names_that_are_no_utf8(tiny_model, tiny_model_dir, tmp_path):
    """Such files are there on many disks; they have rows, whose text is UTF-8."""
    source = tmp_path / "clips" / os.fsdecode(b"b\xffb")
    source.mkdir(parents=True)
    names = [b"a\xfe.wav", b"a\xff.wav", "ü.wav".encode()]
    for number, name in enumerate(names):
        soundfile.write(os.fsencode(source) + b"/" + name, make_speech(0.3, 16_000, seed=number), 16_000)
    folder = make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "clips")
    (folder / "shards" / "000000.json").unlink()
    rows = rows_of(make_corpus(folder, tiny_model_dir, tmp_path / "clips"))
    assert [row["id"] for row in rows] == ["b\\xffb/a\\xfe", "b\\xffb/a\\xff", "b\\xffb/ü"]
    assert {row["speaker"] for row in rows} == {"b\\xffb"} and rows[0]["source"].endswith("b\\xffb/a\\xfe.wav")
    for row, path in zip(rows, sorted(source.iterdir()), strict=True):
        assert np.array_equal(codes_of(row), tiny_model.encode(path).codes[0].numpy())


def test_halves_of_characters_are_shown_as_what_they_are(clips, tiny_model_dir, tmp_path):
    """As of a text that was cut; ``codec prepare`` writes them escaped. A name of the kind is that of no file."""
    good = {"path": str(clips[1][0]), "seconds": 0.3, "text": "hi \ud83d", "speaker": "\udfff"}
    lines = [good, *({"path": path, "seconds": 0.3} for path in ("b\ud83d.wav", "c\0.wav"))]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = rows_of(make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "all.jsonl", max_error_rate=0.9))
    assert (rows[0]["text"], rows[0]["speaker"], rows[0]["error"]) == ("hi \\ud83d", "\\udfff", None)
    assert [(row["id"], row["error_stage"]) for row in rows[1:]] == [("b\\ud83d", "open"), ("c\0", "open")]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.characters(), st.characters(categories=["Cs"]))).map("".join))
def test_what_is_printable_is_utf8_and_otherwise_as_it_was(text):
    shown = printable(text)
    assert shown.encode().decode() == shown
    assert shown == text or any("\ud800" <= letter <= "\udfff" for letter in text)


def test_files_that_are_passed_over_are_named(tiny_model_dir, tmp_path, capsys):
    write_clips(tmp_path / "clips", (0.3,))
    (tmp_path / "clips" / "b.m4a").write_bytes(b"")
    make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "clips")
    said = capsys.readouterr().err
    assert "b.m4a" in said and "skipped" in said


@pytest.mark.parametrize(("source", "output"), [("", "out"), ("clips", "")])
def test_an_empty_name_is_not_the_current_folder(source, output, tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clips(tmp_path / "clips", (0.3,))
    with pytest.raises(CodecError, match="an empty name"):
        tokenize(config_of(tiny_model_dir, source), output)
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


@pytest.mark.parametrize("there", [False, True])
def test_a_source_without_recordings_leaves_no_output_behind(there, tiny_model_dir, tmp_path):
    """And takes away no folder that the user had made."""
    (tmp_path / "clips").mkdir()
    if there:
        (tmp_path / "out").mkdir()
    with pytest.raises(CodecError, match="no utterances"):
        make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "clips")
    assert (tmp_path / "out").exists() == there
    write_clips(tmp_path / "clips", (0.3,))
    assert len(rows_of(make_corpus(tmp_path / "out", tiny_model_dir, tmp_path / "clips"))) == 1
