"""Judges inside wheels: DistillMOS and Moonshine."""

import importlib.metadata
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from eval_helpers import RATE, add_noise, bundled_speech, pair

from codec.errors import CodecError
from codec.eval.measures import MetricSettings, build_measures
from codec.eval.measures import distillmos as distillmos_module
from codec.eval.measures.moonshine import read_vocabulary
from codec.eval.types import Skip

PACKAGES = {"distillmos": "distillmos", "wer_moonshine": "moonshine-voice"}


def metric(name: str):
    try:
        importlib.metadata.version(PACKAGES[name])
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{PACKAGES[name]} is not installed")
    return build_measures([name], MetricSettings())[0]


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return bundled_speech(5.0, start=0.0)


def test_distillmos_hears_noise_and_clean_speech_best(speech):
    measure = metric("distillmos")
    scores = [measure(pair(speech, speech))["distillmos"]]
    scores += [measure(pair(speech, add_noise(speech, snr)))["distillmos"] for snr in (30, 15, 0)]
    assert scores == sorted(scores, reverse=True)
    assert 3.5 < scores[0] < 5 and 1 <= scores[-1] < 2.5


def test_distillmos_does_not_hear_the_reference_nor_the_level(speech):
    measure = metric("distillmos")
    once = measure(pair(speech, speech))["distillmos"]
    assert measure(pair(np.zeros_like(speech), speech))["distillmos"] == once
    assert measure(pair(speech, 0.25 * speech))["distillmos"] == pytest.approx(once, abs=1e-3)


def test_distillmos_leaves_no_trace_of_the_module_it_stands_in_for(speech, capsys):
    metric("distillmos")(pair(speech, speech))
    assert "torchaudio" not in sys.modules
    assert capsys.readouterr().out == ""
    real = types.ModuleType("torchaudio")
    sys.modules["torchaudio"] = real
    try:
        with distillmos_module._stand_in("torchaudio"):
            assert sys.modules["torchaudio"] is not real
        assert sys.modules["torchaudio"] is real
    finally:
        del sys.modules["torchaudio"]


def test_distillmos_skips_silence(speech):
    with pytest.raises(Skip, match="silent"):
        metric("distillmos")(pair(speech, np.zeros_like(speech)))


def test_moonshine_makes_no_error_when_told_its_own_transcript(speech):
    measure = metric("wer_moonshine")
    heard = measure.notes(pair(speech, speech))["transcript_moonshine"]
    assert len(heard.split()) > 5
    values = measure(pair(speech, speech, text=heard))
    assert values["wer_moonshine"] == 0.0 and values["wil_moonshine"] == 0.0
    # One word more in the text is one deletion.
    values = measure(pair(speech, speech, text=f"{heard} certainly"))
    assert values["errors_moonshine"] == 1
    assert values["reference_words_moonshine"] == values["hypothesis_words_moonshine"] + 1


def test_moonshine_hears_noise(speech):
    measure = metric("wer_moonshine")
    heard = measure.notes(pair(speech, speech))["transcript_moonshine"]
    assert measure(pair(speech, add_noise(speech, -10), text=heard))["wer_moonshine"] > 0.5


def test_moonshine_pools_over_words_under_its_own_names():
    measure = metric("wer_moonshine")
    values = {
        "errors": [1.0, 0.0],
        "hits": [0.0, 9.0],
        "reference_words": [1.0, 9.0],
        "hypothesis_words": [1.0, 9.0],
    }
    table = {f"{name}_moonshine": np.array(value) for name, value in values.items()}
    ones = np.ones((1, 2))
    assert measure.pool("wer_moonshine", table, ones)[0] == pytest.approx(0.1)
    assert measure.pool("wil_moonshine", table, ones)[0] == pytest.approx(1 - 0.9 * 0.9)


def test_both_recognisers_name_their_columns_and_values_apart():
    whisper, moonshine = (
        build_measures(["wer"], MetricSettings(asr="some/whisper-base"))[0],
        metric("wer_moonshine"),
    )
    assert [column.title for column in whisper.columns] == ["WER Whisper %", "WIL Whisper %"]
    assert [column.title for column in moonshine.columns] == ["WER Moonshine %", "WIL Moonshine %"]
    assert not {c.name for c in whisper.columns} & {c.name for c in moonshine.columns}
    other = build_measures(["wer"], MetricSettings(asr="some/wav2vec2"))[0]
    assert [column.title for column in other.columns] == ["WER wav2vec2 %", "WIL wav2vec2 %"]


@pytest.mark.parametrize(
    ("seconds", "language", "reason"), [(0.05, "en", "0.1"), (31, "en", "30"), (1, "de", "English")]
)
def test_what_moonshine_cannot_hear_is_skipped(seconds, language, reason):
    wav = np.full(round(seconds * RATE), 0.01, np.float32)
    said = pair(wav, wav, text="ein Wort")
    said = replace(said, clip=replace(said.clip, language=language))
    with pytest.raises(Skip, match=reason):
        metric("wer_moonshine")(said)


def test_a_vocabulary_has_tokens_of_any_length():
    long = bytes(range(200))
    data = b"\x03the\x00" + bytes([128 + 200 % 128, 200 // 128]) + long
    assert read_vocabulary(data) == [b"the", b"", long]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("distillmos", r"distillmos, xls-r-sqa.*pip install --no-deps distillmos==0.9.1"),
        ("wer_moonshine", r"moonshine-voice.*pip install --no-deps moonshine-voice==0.0.73"),
    ],
)
def test_a_missing_package_is_one_line_with_the_command(monkeypatch, name, command):
    monkeypatch.setattr(
        "codec.eval.measures.base._installed", lambda package: package in ("jiwer", "onnxruntime")
    )
    with pytest.raises(CodecError, match=command) as caught:
        build_measures([name], MetricSettings())
    assert "\n" not in str(caught.value)
