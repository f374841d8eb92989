"""Manifests from folders, manifests and datasets: what is in them, and what is left out and why."""

import dataclasses
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import make_speech
from hypothesis import given
from hypothesis import strategies as st

from codec.audio.io import load_audio
from codec.cli import main as codec_command
from codec.config import from_dict
from codec.data import Clip, read_manifest, write_manifest
from codec.data.corpus import CorpusConfig, collect, probe
from codec.errors import CodecError
from codec.settings import read_config


def write_sound(path: Path, seconds: float = 0.5, rate: int = 16_000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = make_speech(seconds, rate)
    soundfile.write(path, np.stack([data] * channels, axis=1), rate)
    return path


def corpus_of(source, output, **options):
    return collect(from_dict(CorpusConfig, {"source": str(source), "output": str(output), **options}))


def by_stem(corpus):
    return {Path(clip.path).stem: clip for clip in corpus.clips}


@pytest.fixture
def folder(tmp_path):
    """LibriSpeech's layout with sidecars, stereo, another rate, and four kinds of bad files."""
    root = tmp_path / "data" / "audio"
    write_sound(root / "84" / "1" / "84-1-0000.flac", 0.5)
    write_sound(root / "84" / "1" / "84-1-0001.flac", 0.75)
    (root / "84" / "1" / "84-1.trans.txt").write_text("84-1-0000 HE SAID\n84-1-0001 NO MORE OF IT\n")
    write_sound(root / "97" / "2" / "stereo.wav", 0.6, 44_100, channels=2)
    (root / "97" / "2" / "stereo.lab").write_text(" two \n channels ")
    write_sound(root / "97" / "2" / "b.wav", 0.4)
    (root / "97" / "2" / "b.txt").write_text("\ufeffGrüße", encoding="utf-8")
    (root / "97" / "2" / "text.wav").write_text("no sound")
    soundfile.write(root / "97" / "2" / "empty.wav", np.zeros(0, np.float32), 16_000)
    soundfile.write(
        root / "97" / "2" / "nan.wav", np.full(8_000, np.nan, np.float32), 16_000, subtype="FLOAT"
    )
    whole = write_sound(root / "97" / "2" / "damaged.flac", 2.0).read_bytes()
    (root / "97" / "2" / "damaged.flac").write_bytes(whole[:9_000] + bytes(9_000) + whole[18_000:])
    (root / "97" / "2" / "notes.md").write_text("ignored")
    return root


def test_a_folder_becomes_whole_clips_with_speakers_and_texts(folder):
    corpus = corpus_of(folder, folder.parent / "m.jsonl", speaker="top", language="en")
    clips = by_stem(corpus)
    assert [clip.path for clip in corpus.clips] == sorted(clip.path for clip in corpus.clips)
    assert set(clips) == {"84-1-0000", "84-1-0001", "stereo", "b"}
    assert clips["84-1-0001"] == Clip(
        path="audio/84/1/84-1-0001.flac",
        seconds=0.75,
        speaker="84",
        language="en",
        text="NO MORE OF IT",
        root=str(folder.parent.resolve()),
    )
    assert (clips["stereo"].seconds, clips["stereo"].text) == (0.6, "two channels")
    assert clips["b"].text == "Grüße"


def test_bad_files_are_skipped_with_a_reason(folder):
    skipped = {
        Path(path).name: reason for path, reason in corpus_of(folder, folder.parent / "m.jsonl").skipped
    }
    assert set(skipped) == {"text.wav", "empty.wav", "nan.wav", "damaged.flac"}
    assert skipped["nan.wav"].startswith("holds NaN or infinite samples")
    assert skipped["empty.wav"].startswith("has no samples")
    assert "not an audio file that can be read" in skipped["text.wav"]


def test_without_verify_only_headers_are_read(folder):
    names = {
        Path(path).name for path, _ in corpus_of(folder, folder.parent / "m.jsonl", verify=False).skipped
    }
    assert names == {"text.wav", "empty.wav"}


def test_limits_of_duration_and_number(folder):
    output = folder.parent / "m.jsonl"
    assert set(by_stem(corpus_of(folder, output, min_seconds=0.55))) == {"84-1-0001", "stereo"}
    assert set(by_stem(corpus_of(folder, output, max_seconds=0.45))) == {"b"}
    assert set(by_stem(corpus_of(folder, output, limit=1))) == {"84-1-0000"}


def test_paths_are_relative_to_a_root_of_ones_own(folder, tmp_path):
    """So that manifests of one data folder, wherever they are written, name its clips alike."""
    root, elsewhere = folder.parent, write_sound(tmp_path / "elsewhere" / "c.wav")
    output = tmp_path / "m.jsonl"
    mixed = tmp_path / "mixed.jsonl"
    write_manifest(mixed, [Clip(str(folder / "97" / "2" / "b.wav"), 0.4), Clip(str(elsewhere), 0.5)])
    clips = corpus_of(mixed, output, root=str(root)).clips
    assert [clip.path for clip in clips] == ["audio/97/2/b.wav", str(elsewhere)]
    assert all(load_audio(clip.audio).wav.numel() for clip in clips)
    write_manifest(output, clips)
    assert all(clip.audio.is_file() for clip in read_manifest(output, str(root)))
    beside = corpus_of(mixed, root / "m.jsonl").clips
    assert [clip.path for clip in beside] == [clip.path for clip in clips]
    with pytest.raises(CodecError, match="config root: nowhere: no such folder"):
        corpus_of(mixed, output, root="nowhere")


def test_a_linked_folder_below_the_root_keeps_its_name(tmp_path):
    """A data folder may be put together of links, and still be moved as a whole."""
    write_sound(tmp_path / "disk" / "deep" / "a.wav")
    write_sound(tmp_path / "disk" / "b.wav")
    data = tmp_path / "data"
    data.mkdir()
    (data / "linked").symlink_to(tmp_path / "disk" / "deep", target_is_directory=True)
    write_manifest(tmp_path / "m.jsonl", [Clip("linked/a.wav", 0.5), Clip("linked/../b.wav", 0.5)])
    clips = corpus_of(tmp_path / "m.jsonl", tmp_path / "out.jsonl", root=str(data), source_root=str(data)).clips
    assert [clip.path for clip in clips] == ["linked/a.wav", str(tmp_path / "disk" / "b.wav")]
    (tmp_path / "alias").symlink_to(data, target_is_directory=True)
    through = corpus_of(data / "linked", tmp_path / "out.jsonl", root=str(tmp_path / "alias")).clips
    assert [(clip.path, clip.audio.is_file()) for clip in through] == [("linked/a.wav", True)]


def test_a_manifest_elsewhere_with_the_root_of_its_paths(folder, tmp_path):
    write_manifest(tmp_path / "m.jsonl", [Clip("audio/97/2/b.wav", 0.4)])
    clips = corpus_of(tmp_path / "m.jsonl", folder.parent / "out.jsonl", source_root=str(folder.parent)).clips
    assert [clip.path for clip in clips] == ["audio/97/2/b.wav"]
    with pytest.raises(CodecError, match="source_root: .* is no manifest"):
        corpus_of(folder, tmp_path / "out.jsonl", source_root=str(folder))


@pytest.mark.parametrize(
    "options, speakers",
    [
        ({}, {"1", "2"}),
        ({"speaker": "none"}, {None}),
        ({"speaker_regex": r"(\d+)-\d+-\d+\.flac$"}, {"84", "2"}),
    ],
)
def test_speakers(folder, options, speakers):
    assert {
        clip.speaker for clip in corpus_of(folder, folder.parent / "m.jsonl", **options).clips
    } == speakers


def test_a_manifest_is_measured_again_and_completed(folder, tmp_path):
    write_manifest(
        folder.parent / "old.jsonl",
        [
            Clip("audio/84/1/84-1-0000.flac", 9.0, speaker="me", text="my text"),
            Clip("audio/97/2/b.wav", 9.0, language="de", domain="music", label="x"),
        ],
    )
    corpus = corpus_of(folder.parent / "old.jsonl", tmp_path / "elsewhere" / "m.jsonl", language="en")
    first, second = corpus.clips
    assert (first.seconds, first.speaker, first.language, first.text) == (0.5, "me", "en", "my text")
    assert (second.language, second.text, second.domain, second.label) == ("de", "Grüße", "music", "x")
    assert Path(first.path).is_absolute() and first.audio.is_file()


@pytest.mark.parametrize(
    "source, message",
    [
        ("./nowhere", r"\./nowhere: no such folder; name an audio folder"),
        ("nowhere.jsonl", "nowhere.jsonl: no such manifest or folder"),
    ],
)
def test_a_missing_source_is_one_line(source, message, tmp_path):
    with pytest.raises(CodecError, match=message):
        corpus_of(source, tmp_path / "m.jsonl")


def test_a_folder_without_any_good_file_is_an_error(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_text("no sound")
    with pytest.raises(
        CodecError, match=r"no usable recording \(1 skipped; the first: a\.wav: not an audio file"
    ):
        corpus_of(tmp_path / "in", tmp_path / "m.jsonl")


@pytest.fixture
def dataset(folder, tmp_path, monkeypatch):
    """A dataset of Parquet rows: a FLAC and a WAV as bytes, a row without audio, one that is no sound."""
    pytest.importorskip("datasets")
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    flac, wav = (folder / "84/1/84-1-0000.flac").read_bytes(), (folder / "97/2/b.wav").read_bytes()
    rows = {
        "audio": [
            {"bytes": flac, "path": "a.flac"},
            {"bytes": wav, "path": None},
            {"bytes": None, "path": None},
            {"bytes": b"no sound", "path": "c.wav"},
        ],
        "text": ["one", None, "three", "four"],
        "speaker_id": [11, 12, 13, 14],
    }
    root = tmp_path / "dataset"
    root.mkdir()
    parquet.write_table(pyarrow.Table.from_pydict(rows), root / "train.parquet")
    return root


def test_a_dataset_is_copied_byte_by_byte(dataset, folder, tmp_path):
    corpus = corpus_of(dataset, tmp_path / "out" / "m.jsonl", kind="hub", language="en")
    assert [(clip.seconds, clip.text, clip.speaker, clip.language) for clip in corpus.clips] == [
        (0.5, "one", "11", "en"),
        (0.4, None, "12", "en"),
    ]
    first, second = corpus.clips
    assert first.audio.read_bytes() == (folder / "84/1/84-1-0000.flac").read_bytes()
    assert first.audio.suffix == ".flac" and second.audio.suffix == ".wav"
    assert first.path.startswith("audio/") and len(load_audio(first.audio).wav) == 8_000
    row, damaged = (Path(path).name for path, _ in corpus.skipped)
    assert row == "row 2" and re.fullmatch(r"000003-c-[0-9a-f]{8}\.wav", damaged)
    with pytest.raises(
        CodecError, match="no column 'sound'; set audio_column to one of audio, text, speaker_id"
    ):
        corpus_of(dataset, tmp_path / "out" / "m.jsonl", kind="hub", audio_column="sound")


def test_splits_that_are_written_side_by_side_keep_their_recordings(dataset, folder, tmp_path):
    """Rows of the same numbers and names, whose recordings have the same size or another."""
    import pyarrow
    from pyarrow import parquet

    flac, wav = (folder / "84/1/84-1-0000.flac").read_bytes(), (folder / "97/2/b.wav").read_bytes()
    louder = wav[:44] + bytes(byte ^ 1 for byte in wav[44:])
    rows = {"audio": [{"bytes": wav, "path": "a.flac"}, {"bytes": louder, "path": None}]}
    parquet.write_table(pyarrow.Table.from_pydict(rows), dataset / "test.parquet")
    train, test = (
        corpus_of(dataset, tmp_path / "out" / f"{split}.jsonl", kind="hub", split=split) for split in ("train", "test")
    )
    assert [clip.audio.read_bytes() for clip in train.clips] == [flac, wav]
    assert [clip.audio.read_bytes() for clip in test.clips] == [wav, louder]


def test_the_verb_writes_a_manifest_that_reads_back(folder, capsys):
    output = folder.parent / "new" / "m.jsonl"
    arguments = [f"source={folder}", f"output={output}", "speaker=top"]
    assert codec_command(["prepare", *arguments]) == 0
    shown = capsys.readouterr().err
    assert "4 clips, 0.00 h, 2 speakers, 4 with text; 4 skipped" in shown and "nan.wav: holds NaN" in shown
    clips = read_manifest(output)
    assert len(clips) == 4 and all(clip.audio.is_file() for clip in clips)


def test_the_shipped_config_is_valid():
    assert read_config(CorpusConfig, "prepare").speaker == "top"


def test_a_manifest_can_be_split_by_path_and_relabelled(tmp_path):
    write_sound(tmp_path / "read" / "a.wav")
    write_sound(tmp_path / "sung" / "b.wav")
    manifest = tmp_path / "all.jsonl"
    write_manifest(manifest, [Clip("read/a.wav", 0.5, domain="speech"), Clip("sung/b.wav", 0.5, domain="song")])
    chosen = corpus_of(manifest, tmp_path / "part.jsonl", include="sung/*", domain="choir")
    assert [(clip.path, clip.domain) for clip in chosen.clips] == [("sung/b.wav", "choir")]
    everything = corpus_of(manifest, tmp_path / "part.jsonl")
    assert [clip.domain for clip in everything.clips] == ["speech", "song"]


def bad_number(monkeypatch, number):
    """Ctrl-C while the recording of that number is read; the list gets the names of all that are."""
    seen, real = [], probe.verified_seconds

    def read(source, verify):
        seen.append(Path(source).name)
        if len(seen) == number:
            raise KeyboardInterrupt
        return real(source, verify)

    monkeypatch.setattr(probe, "verified_seconds", read)
    return seen


@pytest.mark.parametrize("stopped_at", [1, 3, 8])
def test_a_stopped_run_goes_on_and_reads_nothing_twice(folder, monkeypatch, stopped_at):
    whole, output = folder.parent / "whole.jsonl", folder.parent / "m.jsonl"
    arguments = [f"source={folder}", "workers=1"]
    assert codec_command(["prepare", *arguments, f"output={whole}"]) == 0
    with monkeypatch.context() as patch:
        before = bad_number(patch, stopped_at)
        assert codec_command(["prepare", *arguments, f"output={output}"]) == 130
    assert not output.exists()
    with monkeypatch.context() as patch:
        after = bad_number(patch, 0)
        assert codec_command(["prepare", *arguments, f"output={output}"]) == 0
    # Only damaged ones are read again, to say why.
    stopped = before.pop(stopped_at - 1)
    recordings = {path.name for path in folder.rglob("*.*") if path.suffix in (".flac", ".wav")}
    assert set(before) & set(after) <= {"text.wav", "empty.wav", "nan.wav", "damaged.flac"}
    assert stopped in after and set(before) | set(after) == recordings
    assert output.read_text() == whole.read_text()
    assert sorted(path.name for path in folder.parent.glob("*.jsonl")) == ["m.jsonl", "whole.jsonl"]


def test_a_recording_that_changed_is_read_again(folder, monkeypatch):
    output = folder.parent / "m.jsonl"
    first = by_stem(corpus_of(folder, output))
    write_sound(folder / "97" / "2" / "b.wav", 0.9)
    seen = bad_number(monkeypatch, 0)
    second = by_stem(corpus_of(folder, output))
    assert (first["b"].seconds, second["b"].seconds) == (0.4, 0.9)
    assert set(seen) == {"b.wav", "text.wav", "empty.wav", "nan.wav", "damaged.flac"}


def test_threads_change_nothing(folder):
    one, many = (corpus_of(folder, folder.parent / f"{workers}.jsonl", workers=workers) for workers in (1, 7))
    assert (one.clips, one.skipped) == (many.clips, many.skipped)
    with pytest.raises(CodecError, match="workers: 0 must be above 0"):
        corpus_of(folder, folder.parent / "m.jsonl", workers=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": -1}, "limit: -1 must be above 0"),
        ({"min_seconds": math.nan}, "min_seconds: nan is no number"),
        ({"max_seconds": math.nan}, "max_seconds: nan is no number"),
        ({"speaker_regex": "("}, "speaker_regex: '\\(' is no pattern"),
        ({"speaker_regex": "spk"}, "speaker_regex: 'spk' has no group"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(CodecError, match=message):
        CorpusConfig("in", "m.jsonl", **options)


def test_notes_of_a_stopped_run_that_are_none(folder):
    output = folder.parent / "m.jsonl"
    Path(f"{output}.read.jsonl").write_text("{}\n")
    with pytest.raises(CodecError, match=r"m.jsonl.read.jsonl: damaged; delete it to read all recordings again"):
        corpus_of(folder, output)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=6)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.lists(st.builds(Clip, NAMES.map("a{}.wav".format), st.just(0.5), NAMES, NAMES, TEXTS), min_size=1, max_size=3))
def test_any_text_and_any_name_can_be_read_again(tmp_path_factory, clips):
    path = tmp_path_factory.mktemp("manifest") / "m.jsonl"
    write_manifest(path, clips)
    assert [dataclasses.replace(clip, root="") for clip in read_manifest(path)] == clips


def test_half_a_character_in_a_text_or_name_can_be_read_again(tmp_path):
    clips = [Clip(os.fsdecode(b"caf\xe9/a.wav"), 0.5, text="cut \ud83d"), Clip("b.wav", 0.5, text="Grüße")]
    write_manifest(tmp_path / "m.jsonl", clips)
    assert [dataclasses.replace(clip, root="") for clip in read_manifest(tmp_path / "m.jsonl")] == clips
    assert "Grüße" in (tmp_path / "m.jsonl").read_text(encoding="utf-8")


def test_a_manifest_that_another_program_saved(tmp_path):
    clips = [Clip("a.wav", 0.5, text="Grüße"), Clip("b.wav", 0.5)]
    write_manifest(tmp_path / "m.jsonl", clips)
    data = (tmp_path / "m.jsonl").read_bytes()
    (tmp_path / "windows.jsonl").write_bytes(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"))
    assert read_manifest(tmp_path / "windows.jsonl") == read_manifest(tmp_path / "m.jsonl")


def test_line_breaks_of_other_kinds_belong_to_texts_and_names(tmp_path):
    folder = tmp_path / "in"
    write_sound(folder / "1.flac")
    write_sound(folder / "two\u2028lines.wav")
    (folder / "in.trans.txt").write_text("1 HE\u2028SAID\x85IT\ntwo\u2028lines OF IT\n", encoding="utf-8")
    output = tmp_path / "m.jsonl"
    assert codec_command(["prepare", f"source={folder}", f"output={output}"]) == 0
    texts = {clip.audio.name: clip.text for clip in read_manifest(output)}
    assert texts == {"1.flac": "HE\u2028SAID\x85IT", "two\u2028lines.wav": "OF IT"}


def test_names_that_no_manifest_can_hold_are_passed_over(tmp_path, capfd):
    folder = tmp_path / "in"
    write_sound(folder / "a.wav")
    os.rename(folder / "a.wav", os.fsencode(folder) + b"/caf\xe9.wav")
    write_sound(folder / "b.wav")
    output = tmp_path / "m.jsonl"
    assert codec_command(["prepare", f"source={folder}", f"output={output}"]) == 0
    assert [clip.path for clip in read_manifest(output)] == ["in/b.wav"]
    assert r"1 with names that are not UTF-8 (rename them): " in capfd.readouterr().err.replace("\n", " ")


def test_a_link_to_itself_is_named_and_the_rest_is_read(tmp_path):
    write_sound(tmp_path / "in" / "a.wav")
    (tmp_path / "in" / "loop").symlink_to("loop")
    corpus = corpus_of(tmp_path / "in", tmp_path / "m.jsonl")
    assert [clip.name for clip in corpus.clips] == ["in/a"]
    ((path, reason),) = corpus.skipped
    assert path.endswith("/in/loop") and "cannot be read" in reason
