"""Measures order degradations, reach their ceiling, and agree with arithmetic done by hand."""

import json

import numpy as np
import pytest
from eval_helpers import RATE, add_noise, bundled_speech, pair

from codec.errors import CodecError
from codec.eval.align import find_delay, remove_delay
from codec.eval.measures import MetricSettings, build_measures, measure_names
from codec.eval.measures.recognition import count_words, normalize
from codec.eval.measures.registry import installed_measures
from codec.eval.types import Skip

CEILINGS = {
    "pesq": (4.64, 0.01),
    "stoi": (1.0, 1e-6),
    "estoi": (1.0, 1e-6),
    "visqol": (1.0, 1e-6),
    "visqol_audio": (1.0, 1e-6),
    "si_sdr": (100.0, 1e-6),
    "mel": (0.0, 1e-9),
    "stft": (0.0, 1e-9),
    "speaker": (1.0, 1e-5),
}
NEEDS = {"pesq": "pesq", "speaker": "webrtcvad"}


def metric(name: str):
    """The measure; only those whose packages need a compiler may be missing."""
    if name in NEEDS:
        import importlib.metadata

        try:
            importlib.metadata.version(NEEDS[name])
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{NEEDS[name]} is not installed")
    return build_measures([name], MetricSettings())[0]


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return bundled_speech(3.0)


@pytest.mark.parametrize("name", [*CEILINGS, "dnsmos"])
def test_noise_at_falling_snr_orders_every_measure(name, speech):
    measure = metric(name)
    scores = [measure(pair(speech, speech))[name]]
    scores += [measure(pair(speech, add_noise(speech, snr)))[name] for snr in (30, 15, 0)]
    better = [-score for score in scores] if not measure.columns[0].higher_is_better else scores
    assert better == sorted(better, reverse=True)
    assert better[0] > better[1] > better[3]


@pytest.mark.parametrize("name", CEILINGS)
def test_identical_audio_scores_the_ceiling(name, speech):
    ceiling, tolerance = CEILINGS[name]
    # ViSQOL maps the similarity of identical audio to 4.0 to 4.4, depending on the speech.
    value = f"{name}_nsim" if name.startswith("visqol") else name
    assert metric(name)(pair(speech, speech))[value] == pytest.approx(ceiling, abs=tolerance)


@pytest.mark.parametrize("name", [*CEILINGS, "dnsmos"])
def test_a_delay_of_20_ms_changes_nothing(name, speech):
    degraded = add_noise(speech, 20)
    late = np.concatenate([np.zeros(320, np.float32), degraded])
    aligned = remove_delay(speech, late, find_delay(speech, late, RATE).samples, RATE)
    assert aligned.delay == 320
    measure = metric(name)
    assert measure(pair(aligned.reference, aligned.output)) == pytest.approx(measure(pair(speech, degraded)))


def test_si_sdr_by_hand():
    time = np.arange(RATE) / RATE
    tone = np.sin(2 * np.pi * 200 * time).astype(np.float32)
    other = np.sin(2 * np.pi * 300 * time).astype(np.float32)
    # Orthogonal noise at a tenth of the amplitude: 20 dB, whatever the gain of the whole.
    for gain in (1.0, 0.1):
        score = metric("si_sdr")(pair(tone, gain * (tone + 0.1 * other)))["si_sdr"]
        assert score == pytest.approx(20.0, abs=0.01)


def test_spectral_distances_by_hand(speech):
    # Ten times less is one decade everywhere above the floor.
    loud = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert metric("mel")(pair(loud, 0.1 * loud))["mel"] == pytest.approx(1.0, abs=1e-4)
    assert metric("stft")(pair(loud, 0.1 * loud))["stft"] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", ["pesq", "stoi", "estoi", "visqol", "visqol_audio"])
def test_a_clip_too_short_is_skipped_with_a_reason(name):
    short = bundled_speech(0.2, start=1.0)
    with pytest.raises(Skip, match="short|less than|no speech"):
        metric(name)(pair(short, short))


def test_a_silent_output_is_skipped_by_pesq_with_a_reason(speech):
    with pytest.raises(Skip, match="finds no speech"):
        metric("pesq")(pair(speech, np.zeros_like(speech)))


def test_a_silent_output_has_no_speaker(speech):
    silence = metric("speaker")(pair(speech, np.zeros_like(speech)))["speaker"]
    assert silence < metric("speaker")(pair(speech, add_noise(speech, 0)))["speaker"]


def test_word_errors_by_hand():
    # One substitution, one deletion, one insertion in six words; four hits of six said.
    counts = count_words("the cat sat on the mat", "the dog sat the mat now")
    assert (counts.hits, counts.errors, counts.reference_words, counts.hypothesis_words) == (4, 3, 6, 6)


def test_the_normaliser_is_whispers():
    assert normalize("Mr. Hale's COLOUR -- twenty-one!", "en") == "mister hale is color 21"
    assert normalize("Grüße, Welt!", "de") == "grüße welt"


def test_word_error_rate_is_pooled_over_words_not_clips(ctc_model):
    measure = build_measures(["wer"], MetricSettings(asr=str(ctc_model)))[0]
    values = {
        "errors": np.array([1.0, 0.0]),
        "hits": np.array([0.0, 9.0]),
        "reference_words": np.array([1.0, 9.0]),
        "hypothesis_words": np.array([1.0, 9.0]),
    }
    ones = np.ones((1, 2))
    assert measure.pool("wer", values, ones)[0] == pytest.approx(0.1)
    assert measure.pool("wil", values, ones)[0] == pytest.approx(1 - 0.9 * 0.9)


@pytest.fixture(scope="module")
def ctc_model(tmp_path_factory):
    """A random recogniser of letters, in the form that transformers saves."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    folder = tmp_path_factory.mktemp("ctc")
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefgh"]
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({letter: index for index, letter in enumerate(letters)}))
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(160, 2),
        conv_kernel=(160, 2),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    Wav2Vec2CTCTokenizer(str(vocabulary)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def test_a_transformers_recogniser_is_scored_on_its_own_words(ctc_model, speech):
    measure = build_measures(["wer"], MetricSettings(asr=str(ctc_model)))[0]
    said = pair(speech, speech, text="a word")
    heard = measure.notes(said)["transcript"]
    values = measure(said)
    counts = count_words("a word", normalize(heard, "en"))
    assert heard and values["wer"] == counts.errors / 2
    assert values["hypothesis_words"] == counts.hypothesis_words
    # Told its own transcript as the truth, it makes no error.
    assert measure(pair(speech, speech, text=heard))["wer"] == 0.0


def test_missing_text_is_skipped_with_a_reason(ctc_model, speech):
    measure = build_measures(["wer"], MetricSettings(asr=str(ctc_model)))[0]
    with pytest.raises(Skip, match="no text"):
        measure(pair(speech, speech, text=None))


def test_x_vectors_of_a_transformers_model(tmp_path, speech):
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForXVector

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(80, 4),
        conv_kernel=(80, 4),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        tdnn_dim=(16, 16, 24),
        tdnn_kernel=(3, 3, 1),
        tdnn_dilation=(1, 2, 1),
        xvector_output_dim=12,
    )
    Wav2Vec2ForXVector(config).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    measure = build_measures(["xvector"], MetricSettings(speaker_model=str(tmp_path)))[0]
    assert measure(pair(speech, speech))["xvector"] == pytest.approx(1.0, abs=1e-5)
    assert measure(pair(speech, add_noise(speech, 0)))["xvector"] < 0.9999


@pytest.mark.parametrize(
    ("name", "message"),
    [("nonsense", "known: .*pesq"), ("wer", "--asr"), ("xvector", "--speaker-model")],
)
def test_what_a_measure_lacks_is_said_before_work(name, message):
    with pytest.raises(CodecError, match=message):
        build_measures([name], MetricSettings())


def test_every_measure_tells_its_versions_and_method(tmp_path):
    (tmp_path / "msd_musicnn.onnx").touch()
    settings = MetricSettings(asr="some/id", speaker_model="some/id", tag_model=str(tmp_path))
    for measure in build_measures(installed_measures(measure_names()), settings):
        assert set(measure.packages) <= set(measure.versions())
        assert len(measure.describe()) > 20
