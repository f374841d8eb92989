"""Runs resume, survive crashes, report what they skipped, and agree with each other."""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from eval_helpers import RATE, Fragile, Loudness, add_noise, bundled_speech, timeless, write_clips

from codec.cli.app import main
from codec.data import Clip, read_manifest
from codec.errors import CodecError
from codec.eval import job as job_module
from codec.eval.clips import read_clips, select
from codec.eval.evaluation import execute, prepare
from codec.eval.measures.registry import MEASURES
from codec.eval.options import Options, Selection
from codec.eval.runner import Request, run
from codec.eval.summary import summarize
from codec.eval.systems import Original, parse_baseline


class LoudnessAgain(Loudness):
    """The same measure by another name."""

    name = "loudness_again"


@pytest.fixture
def manifest(tmp_path):
    wavs = {f"{speaker}-{i}": bundled_speech(1.0, 0.5 + i) for speaker in "ab" for i in range(2)}
    return write_clips(tmp_path / "data", wavs)


def noisy_baseline(manifest, folder, names=None, snr=10.0):
    """A folder of degraded copies, as a baseline."""
    folder.mkdir(exist_ok=True)
    for clip in read_manifest(manifest):
        if names is None or clip.name in names:
            wav = soundfile.read(clip.audio, dtype="float32")[0]
            soundfile.write(folder / f"{clip.name}.wav", add_noise(wav, snr), RATE, subtype="PCM_16")
    return parse_baseline(f"dir:{folder.name}@4={folder}")


def request(manifest, out, systems, measures=None, workers=0):
    return Request(read_manifest(manifest), systems, measures or [Loudness()], out, workers)


def figures(request_, outcome):
    return {s.label: s for s in summarize(request_, outcome, seed=0)}


def test_a_second_run_does_nothing_and_says_the_same(manifest, tmp_path, monkeypatch):
    asked = request(manifest, tmp_path / "out", [Original(), noisy_baseline(manifest, tmp_path / "noisy")])
    first = run(asked)
    assert len(first.rows) == 4 * 2 * 2 and first.reused == 0
    monkeypatch.setattr(job_module, "_score", None)
    monkeypatch.setattr(job_module, "_code", None)
    second = run(asked)
    assert second.rows == first.rows and second.reused == 8


def test_an_interrupted_run_goes_on_where_it_stopped(manifest, tmp_path):
    asked = request(manifest, tmp_path / "out", [Original(), noisy_baseline(manifest, tmp_path / "noisy")])
    whole = run(asked)
    results = tmp_path / "out" / "results.jsonl"
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(lines[:7]) + lines[7][:20])
    again = run(asked)
    assert 0 < again.reused < 8
    assert [r.values for r in again.rows if r.measure == "loudness"] == [
        r.values for r in whole.rows if r.measure == "loudness"
    ]


def test_changed_audio_is_measured_again(manifest, tmp_path):
    baseline = noisy_baseline(manifest, tmp_path / "noisy")
    asked = request(manifest, tmp_path / "out", [Original(), baseline])
    run(asked)
    noisy_baseline(manifest, tmp_path / "noisy", names=["a-0"], snr=-5.0)
    outcome = run(asked)
    assert outcome.reused == 7
    level = {
        row.clip: row.values["loudness"]
        for row in outcome.rows
        if row.measure == "loudness" and row.system == "noisy"
    }
    assert level["a-0"] > 1.2 * level["a-1"]


def test_a_new_measure_is_taken_of_the_audio_of_its_model(manifest, tmp_path):
    """A model, another of the same name, and the first again, with one measure more."""
    folder, out = tmp_path / "noisy", tmp_path / "out"
    contents = []
    for snr in (10.0, -5.0):
        noisy_baseline(manifest, folder, snr=snr)
        contents.append({path: path.read_bytes() for path in folder.iterdir()})

    def measured(number, *measures):
        for path, content in contents[number].items():
            path.write_bytes(content)
            os.utime(path, (number, number))
        rows = run(request(manifest, out, [parse_baseline(f"dir:noisy@4={folder}")], list(measures))).rows
        return {row.clip: row.values["loudness"] for row in rows if row.measure == measures[-1].name}

    first, second = measured(0, Loudness()), measured(1, Loudness())
    assert all(second[clip] > 1.2 * first[clip] for clip in first)
    assert measured(0, Loudness(), LoudnessAgain()) == first


def test_a_clip_that_was_skipped_is_tried_again(manifest, tmp_path):
    baseline = noisy_baseline(manifest, tmp_path / "noisy", names=["a-0", "a-1", "b-0"])
    asked = request(manifest, tmp_path / "out", [baseline])
    assert sum(row.skipped is not None for row in run(asked).rows) == 2
    noisy_baseline(manifest, tmp_path / "noisy", names=["b-1"])
    outcome = run(asked)
    assert outcome.reused == 3
    assert all(row.skipped is None for row in outcome.rows)


def test_a_crash_of_one_measure_on_one_file_costs_only_itself(tmp_path):
    wavs = {f"a-{name}": bundled_speech(0.4) for name in ("fine", "raises", "nan")}
    manifest = write_clips(tmp_path / "data", wavs)
    asked = request(manifest, tmp_path / "out", [Original()], [Fragile(), Loudness()])
    summary = figures(asked, run(asked))["original"]
    assert summary.figures["fragile"].clips == 1 and summary.figures["loudness"].clips == 3
    reasons = {omission.reason: omission.clips for omission in summary.omissions}
    assert reasons == {
        "crashed: ZeroDivisionError: by design": ["a-raises"],
        "fragile came out as NaN or infinite": ["a-nan"],
    }


def test_a_measure_that_kills_its_process_costs_only_itself(tmp_path):
    names = ("dies", "one", "two", "three", "zero")
    manifest = write_clips(tmp_path / "data", {f"a-{name}": bundled_speech(0.4) for name in names})
    asked = request(manifest, tmp_path / "out", [Original()], [Fragile(), Loudness()], workers=1)
    summary = figures(asked, run(asked))["original"]
    assert summary.figures["fragile"].clips == 4 and summary.figures["loudness"].clips == 5
    (omission,) = summary.omissions
    assert (omission.clips, omission.reason) == (["a-dies"], "crashed: the worker process died")


def test_a_measure_that_hangs_is_ended_after_the_time_asked_for_and_costs_only_itself(tmp_path, monkeypatch):
    manifest = write_clips(tmp_path / "data", {f"a-{n}": bundled_speech(0.4) for n in ("hangs", "one", "two")})
    for measure in (Fragile, Loudness):
        monkeypatch.setitem(MEASURES._items, measure.name, measure)
    out = tmp_path / "report"
    # A folder of outputs as the only system beside the original, so that no model is loaded.
    peer = f"dir:copy={manifest.parent}"
    arguments = ["eval", manifest, "--peers", peer, "--measures", "fragile,loudness", "--timeout", 15]
    assert main([str(value) for value in [*arguments, "--workers", 2, "--out", out]]) == 0
    report = json.loads((out / "report.json").read_text())
    for system in report["systems"]:
        (omission,) = system["omissions"]
        assert (omission["measure"], omission["clips"]) == ("fragile", ["a-hangs"])
        assert "not done after 15 s" in omission["reason"]
        assert {name: figure["clips"] for name, figure in system["figures"].items()} == {"fragile": 2, "loudness": 3}
    assert "not done after 15 s" in (out / "report.md").read_text()


def test_means_are_over_the_clips_that_all_systems_have(manifest, tmp_path):
    some = noisy_baseline(manifest, tmp_path / "some", names=["a-0", "b-1"])
    asked = request(manifest, tmp_path / "out", [Original(), some])
    summaries = figures(asked, run(asked))
    by_hand = []
    for clip in read_manifest(manifest):
        by_hand.append(np.abs(soundfile.read(clip.audio)[0]).mean())
    original = summaries["original"].figures["loudness"]
    assert original.clips == summaries["some"].figures["loudness"].clips == 2
    assert original.value == pytest.approx((by_hand[0] + by_hand[3]) / 2, rel=1e-5)
    assert original.own_clips == 4 and original.own_value == pytest.approx(np.mean(by_hand), rel=1e-5)
    (omission,) = summaries["some"].omissions
    assert omission.clips == ["a-1", "b-0"] and "no file of that name" in omission.reason


def test_a_system_without_its_tool_is_left_out_with_the_reason(manifest, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = request(manifest, tmp_path / "out", [Original(), parse_baseline("opus:6")])
    summaries = figures(asked, run(asked))
    assert "apt-get install opus-tools" in summaries["opus:6"].absent
    assert summaries["original"].figures["loudness"].clips == 4


def test_bad_recordings_are_counted_with_their_reasons(tmp_path):
    wavs = {"a-fine": bundled_speech(0.5), "a-silent": np.zeros(8000, np.float32)}
    manifest = write_clips(tmp_path / "data", wavs)
    (tmp_path / "data" / "broken.wav").write_bytes(b"no sound")
    soundfile.write(tmp_path / "data" / "nan.wav", np.full(8000, np.nan), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "data" / "empty.wav", np.zeros(0), RATE)
    clips = read_manifest(manifest)
    clips += [replace(clips[0], path=f"{name}.wav") for name in ("broken", "nan", "empty", "gone")]
    asked = Request(clips, [Original()], [Loudness()], tmp_path / "out", workers=0)
    summary = figures(asked, run(asked))["original"]
    assert summary.figures["loudness"].clips == 1
    reasons = {clip: omission.reason for omission in summary.omissions for clip in omission.clips}
    assert set(reasons) == {"a-silent", "broken", "nan", "empty", "gone"}
    assert reasons["a-silent"] == "the recording is silent"
    assert reasons["broken"].startswith("not an audio file")
    assert "NaN" in reasons["nan"]
    assert "no samples" in reasons["empty"]
    assert "no such file" in reasons["gone"]


def test_two_systems_of_one_name_are_refused(manifest, tmp_path):
    with pytest.raises(CodecError, match="two systems are called 'original'"):
        run(request(manifest, tmp_path / "out", [Original(), Original()]))


def test_the_selection_is_the_first_of_each_speaker_in_name_order():
    clips = [Clip(f"{s}-{i}.wav", float(i), s) for s in "ba" for i in (5, 1, 3, 4, 14)]
    chosen = select(clips, Selection(min_seconds=3, max_seconds=13, per_speaker=2))
    assert [clip.name for clip in chosen] == ["a-3", "a-4", "b-3", "b-4"]
    assert [clip.name for clip in select(clips, Selection(limit=1))] == ["a-1"]
    with pytest.raises(CodecError, match="none of 10 clips"):
        select(clips, Selection(min_seconds=60))
    with pytest.raises(CodecError, match="^1 name of more than one clip, first 'a-1'; each clip needs its own$"):
        select([*clips, Clip("a-1.mp3", 1.0, "a")], Selection())


def test_a_folder_is_a_manifest_with_sub_folders_as_speakers(tmp_path):
    (tmp_path / "anna").mkdir()
    soundfile.write(tmp_path / "anna" / "x.flac", np.zeros(8000), RATE)
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    first, second = read_clips(tmp_path)
    assert (first.name, first.speaker, first.seconds) == ("anna/x", "anna", 0.5)
    assert (second.name, second.speaker, second.seconds) == ("bad", None, 0.0)
    (tmp_path / "none").mkdir()
    with pytest.raises(CodecError, match="no recordings"):
        read_clips(tmp_path / "none")


@pytest.fixture
def options(manifest, tmp_path, tiny_model_dir):
    noisy_baseline(manifest, tmp_path / "noisy")
    return Options(
        out=tmp_path / "report",
        models=[str(tiny_model_dir)],
        codebooks=[1, 8],
        baselines=[f"dir:noisy@4={tmp_path / 'noisy'}"],
        measures=["si_sdr", "stoi", "mel"],
        workers=0,
        players=2,
    )


def test_two_runs_agree(manifest, options, tmp_path):
    reports = []
    for name in ("one", "two"):
        execute(prepare(manifest, replace(options, out=tmp_path / name)))
        reports.append(timeless(json.loads((tmp_path / name / "report.json").read_text())))
    assert reports[0] == reports[1]
    assert json.dumps(reports[0]).count("si_sdr") > 10


def test_worker_processes_find_what_one_process_finds(manifest, options, tmp_path):
    asked = request(manifest, tmp_path / "here", [Original()])
    here = run(asked)
    there = run(replace(asked, out=tmp_path / "there", workers=2))
    assert here.rows == there.rows


def test_the_report_has_everything(manifest, options):
    execute(prepare(manifest, options, "codec eval clips.jsonl --model tiny"))
    content = json.loads((options.out / "report.json").read_text())
    labels = ["original", "tiny@1", "tiny@8", "noisy"]
    assert [system["label"] for system in content["systems"]] == labels
    assert set(content["files"]) == {"a-0", "a-1", "b-0", "b-1"}
    for systems in content["files"].values():
        for entry in systems.values():
            assert {"si_sdr", "stoi", "mel", "coding_delay"} <= set(entry["values"])
    tiny = content["systems"][2]
    assert len(tiny["codebooks"]) == 8 and tiny["kbps"] == pytest.approx(4.0, rel=0.05)
    assert {"pystoi", "torch", "librosa"} <= set(content["about"]["versions"])

    markdown = (options.out / "report.md").read_text()
    assert all(f"| {label} |" in markdown for label in labels)
    assert f"pystoi {content['about']['versions']['pystoi']}" in markdown

    page = (options.out / "report.html").read_text()
    assert page.count("<audio") == 2 * len(labels)
    assert page.count("data:audio/flac;base64,") == 2 * len(labels)
    assert page.count("data:image/png;base64,") == 2 * len(labels) + 1
    assert "codec eval clips.jsonl --model tiny" in page
    assert not re.search(r"""(src|href)=["'](?!data:)|<script|<link|url\(""", page)
    pictures = sorted(path.name for path in (options.out / "plots").iterdir())
    assert pictures == ["rate-quality.png", "spectrograms-a-0.png", "spectrograms-b-0.png"]


def test_what_is_left_out_is_in_every_form_of_the_report(manifest, options, tmp_path, monkeypatch):
    (tmp_path / "noisy" / "a-1.wav").unlink()
    monkeypatch.setattr("codec.eval.systems.base.shutil.which", lambda tool: None)
    execute(prepare(manifest, replace(options, baselines=[*options.baselines, "opus:6"])))
    for name in ("report.md", "report.html"):
        text = (options.out / name).read_text()
        assert "1 clip: no file of that name in" in text and "install opus-tools" in text
        assert "STOI: 3 of 4 clips" in text
    content = json.loads((options.out / "report.json").read_text())
    assert "no file of that name" in content["files"]["a-1"]["noisy"]["skipped"]["coding"]


def test_probes_are_wired_to_the_model(manifest, options, monkeypatch):
    from codec.eval import probes

    asked = {}

    def run_probes(model, clips, train_clips, which, seed, out):
        asked.update(model=model, clips=clips, which=which, seed=seed, out=out)
        measure = probes.Finding(
            "phone_accuracy", "1", "one-hot", 0.5, 0.4, 0.6, 0.1, "higher", 4, 2, "speaker"
        )
        return {"phone": probes.ProbeResult("phone", [measure], [probes.Omitted("a-0", "no text")], ["a note"])}

    monkeypatch.setattr(probes, "run_probes", run_probes)
    execute(prepare(manifest, replace(options, probes=["phone"], seed=7)))
    assert asked["which"] == ["phone"] and asked["seed"] == 7 and len(asked["clips"]) == 4
    assert asked["model"].num_codebooks == 8
    content = json.loads((options.out / "report.json").read_text())
    assert content["probes"]["tiny"]["phone"]["measures"][0]["value"] == 0.5
    for name in ("report.md", "report.html"):
        text = (options.out / name).read_text()
        assert "phone accuracy" in text and "a note" in text and "no text" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probes": ["taste"]}, "unknown probe 'taste'"),
        ({"probes": ["phone"], "models": []}, "--model"),
        ({"measures": ["taste"]}, "unknown measure 'taste'"),
        ({"baselines": ["taste:1"]}, "unknown baseline"),
        ({"models": ["no/such/model"]}, "no model"),
    ],
)
def test_wrong_options_are_told_before_work(manifest, options, changes, message):
    with pytest.raises(CodecError, match=message):
        prepare(manifest, replace(options, **changes))
    assert not options.out.exists()
