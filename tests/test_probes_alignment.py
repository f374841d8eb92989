"""Forced alignment: the real aligner, its cache, and phones on token frames."""

import hashlib
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("pocketsphinx")

from conftest import make_speech

import codec
from codec.align import phones as alignment
from codec.align.phones import align_clips, phones_at_frames
from codec.align.pocketsphinx import PhoneAligner, trusted_phones
from codec.align.types import Interval
from codec.data import Clip
from codec.errors import CodecError
from codec.jobs.executor import LocalExecutor


@pytest.fixture(scope="module")
def aligner():
    return PhoneAligner()


def in_frames(*rows) -> tuple[Interval, ...]:
    """Intervals from frames of 10 ms, as the aligner counts them."""
    return tuple(Interval(label, start / 100, stop / 100) for label, start, stop in rows)


def test_phones_are_read_at_the_centres_of_frames():
    segments = in_frames(("SIL", 0, 3), ("AH", 3, 6), (None, 6, 8))
    # 50 frames a second: centres at 10, 30, 50, 70, 90 ms.
    assert phones_at_frames(segments, 5, 50.0) == ["SIL", "AH", "AH", None, None]
    # 12.5 frames a second: centre at 40 ms, then 120 ms, past the end.
    assert phones_at_frames(segments, 2, 12.5) == ["AH", None]


@pytest.mark.parametrize("frame_rate", [12.5, 25.0, 50.0, 75.0, 80.0, 100.0])
def test_borders_in_seconds_are_the_aligners_frames(frame_rate):
    borders = np.cumsum(np.random.default_rng(0).integers(0, 9, size=400)).tolist()
    rows = [(str(i), start, stop) for i, (start, stop) in enumerate(itertools.pairwise(borders))]
    timeline = [None] * borders[-1]
    for label, start, stop in rows:
        timeline[start:stop] = [label] * (stop - start)
    count = int(borders[-1] / 100 * frame_rate)
    expected = [timeline[int((i + 0.5) / frame_rate * 100)] for i in range(count)]
    assert phones_at_frames(in_frames(*rows), count, frame_rate) == expected


def test_unknown_words_and_their_neighbours_lose_their_phones():
    aligned = [
        ("<sil>", in_frames(("SIL", 0, 5))),
        ("one", in_frames(("W", 5, 6), ("AH", 6, 7))),
        ("<sil>", in_frames(("SIL", 7, 7))),
        ("two(2)", in_frames(("T", 7, 8))),
        ("<sil>", in_frames(("SIL", 8, 8))),
        ("<unknown>", in_frames(("+SPN+", 8, 9))),
        ("four", in_frames(("F", 9, 10))),
        ("<sil>", in_frames(("SIL", 10, 10))),
        ("five", in_frames(("F", 10, 11))),
    ]
    phones = [phone.label for phone in trusted_phones(aligned, [True, True, False, True, True])]
    assert phones == ["SIL", "W", "AH", "SIL", None, None, None, None, "SIL", "F"]


@pytest.mark.parametrize(
    ("samples", "text", "message"),
    [
        (16_000, "xqzzt wobbleflop", "not in the dictionary: wobbleflop, xqzzt"),
        (16_000, "", "no text"),
        (800, "hello", "shorter"),
        (16_000, "there is far more text here than could ever be said in one second by anyone", "aligned"),
    ],
)
def test_what_cannot_be_aligned_is_an_error_with_a_reason(aligner, samples, text, message):
    with pytest.raises(CodecError, match=message):
        aligner.align(torch.from_numpy(make_speech(samples / 16_000)), text)


def test_alignments_cover_the_sound_in_order_and_do_not_depend_on_earlier_clips(aligner):
    wav = torch.from_numpy(make_speech(2.0))
    first = aligner.align(wav, "oh my")
    aligner.align(torch.from_numpy(make_speech(1.0, seed=5)) * 0.1, "are you")
    assert aligner.align(wav, "oh my") == first
    assert [s.label for s in first if s.label != "SIL"] == ["OW", "M", "AY"]
    assert first[0].start == 0
    assert all(one.end == following.start for one, following in itertools.pairwise(first))
    assert abs(first[-1].end - 2.0) <= 0.02


def test_bundled_speech_is_aligned(aligner):
    speech = Path(codec.__file__).parent / "assets" / "speech.flac"
    wav = codec.load_audio(speech, 16_000).wav
    segments = aligner.align(wav, "And he also improvised the two following distichs.")
    phones = [segment.label for segment in segments if segment.label not in ("SIL", None)]
    # "distichs" is not in the dictionary, so "following" before it is not trusted.
    assert " ".join(phones).startswith("AE N")
    assert phones[-2:] == ["T", "UW"]
    assert len(phones) == len(["AE", "N", "D", "HH", "IY", "AO", "L", "S", "OW", "IH", "M", "P", "R", "AH", "V", "AY", "Z", "D", "DH", "AH", "T", "UW"])
    loudness = wav[: len(wav) // 160 * 160].reshape(-1, 160).square().mean(dim=1)
    heard = torch.cat([loudness[round(100 * s.start) : round(100 * s.end)] for s in segments if s.label in ("AE", "AO", "AY", "UW")])
    silent = torch.cat([loudness[round(100 * s.start) : round(100 * s.end)] for s in segments if s.label == "SIL"])
    assert heard.median() > 10 * silent.median()


def refuse_tasks(self, function, tasks, done, started=None):
    assert not tasks, "what is known was aligned again"


def crash_on_b(task):
    if "b.wav" in task[0]:
        os.abort()
    return [Interval("AH", 0.0, 0.09)]


def test_alignments_are_kept_and_bad_clips_do_not_stop_the_rest(tmp_path, monkeypatch):
    for name, seed in (("a", 0), ("b", 1)):
        soundfile.write(tmp_path / f"{name}.wav", make_speech(1.5, seed=seed), 16_000)
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    clips = [
        Clip("broken.wav", 1.0, text="hello", root=str(tmp_path)),
        Clip("a.wav", 1.5, text="Oh, my!", root=str(tmp_path)),
        Clip("missing.wav", 1.5, text="oh my", root=str(tmp_path)),
        Clip("b.wav", 1.5, root=str(tmp_path)),
    ]
    cache, skipped = tmp_path / "alignments.jsonl", []
    found = align_clips(clips, cache, skipped)
    assert list(found) == ["a"]
    assert {skip.clip for skip in skipped} == {"broken", "missing", "b"}
    assert [json.loads(line)["clip"] for line in cache.read_text().splitlines()] == ["broken", "a"]

    with cache.open("a") as file:
        file.write('{"key": "cut sho')
    monkeypatch.setattr(LocalExecutor, "run", refuse_tasks)
    again = []
    assert align_clips(clips, cache, again) == found
    assert again == skipped


def test_alignments_of_former_files_are_not_made_again(tmp_path, monkeypatch):
    """Phones in frames of 10 ms, under the hash of recording and text."""
    monkeypatch.setattr(LocalExecutor, "run", refuse_tasks)
    (tmp_path / "a.wav").write_bytes(b"sound")
    clips = [Clip("a.wav", 0.1, text="ah", root=str(tmp_path))]
    key = hashlib.sha256(b"sound" + b"ah").hexdigest()[:24]
    entry = {"key": key, "clip": "a", "segments": [["SIL", 0, 29], ["AH", 29, 57]]}
    (tmp_path / "alignments.jsonl").write_text(json.dumps(entry) + "\n")
    found = align_clips(clips, tmp_path / "alignments.jsonl", [])
    assert found == {"a": in_frames(("SIL", 0, 29), ("AH", 29, 57))}


def test_a_crash_of_the_aligner_costs_one_clip(tmp_path, monkeypatch):
    monkeypatch.setattr(alignment, "phones_of", crash_on_b)
    clips = []
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", np.full(1600, ord(name) / 1000), 16_000)
        clips.append(Clip(f"{name}.wav", 0.1, text="ah", root=str(tmp_path)))
    skipped = []
    found = align_clips(clips, tmp_path / "cache.jsonl", skipped)
    assert list(found) == ["a", "c"]
    assert [(skip.clip, skip.reason) for skip in skipped] == [("b", "crashed: the worker process died")]
