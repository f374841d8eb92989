"""Encoders of audio: frames where their times say, pieces that change nothing, and declarations that hold."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tiny_encoders import save_ast, save_mert, save_musicnn, save_onnx, save_wav2vec_bert
from tiny_teachers import save_hubert

from codec.encoders.base import EncoderConfig
from codec.encoders.musicnn import log_mel
from codec.encoders.open import open_encoder
from codec.errors import CodecError

MUSICNN = Path(__file__).resolve().parents[2] / "shared/models/musicnn"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    return {
        "frames.onnx": save_onnx(folder / "frames.onnx", frames=True),
        "clip.onnx": save_onnx(folder / "clip.onnx", frames=False),
        "fixed.onnx": save_onnx(folder / "fixed.onnx", frames=True, window=16_000),
        "fixed_clip.onnx": save_onnx(folder / "fixed_clip.onnx", frames=False, window=16_000),
        "two.onnx": save_onnx(folder / "two.onnx", frames=True, inputs=2),
        "musicnn": save_musicnn(folder / "musicnn"),
        "mert": save_mert(folder / "mert"),
        "cqt": save_mert(folder / "cqt", feature_extractor_cqt=True),
        "hubert": save_hubert(folder / "hubert"),
        "wav2vec_bert": save_wav2vec_bert(folder / "wav2vec_bert"),
        "ast": save_ast(folder / "ast"),
    }


def encoder(model: str, **options):
    return open_encoder(EncoderConfig(model=model, **options))


def noise(seconds: float, rate: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(seconds * rate), generator=generator)


DECLARED = {"sample_rate": 16_000, "rate": 100.0, "dim": 4}


@pytest.mark.parametrize("model, options, rate, level", [
    ("frames.onnx", DECLARED, 100.0, "frame"),
    ("fixed.onnx", DECLARED, 100.0, "frame"),
    ("clip.onnx", {"sample_rate": 16_000}, None, "clip"),
    ("fixed_clip.onnx", {"sample_rate": 16_000}, None, "clip"),
    ("musicnn", {}, 62.5, "frame"),
    ("musicnn", {"level": "clip"}, None, "clip"),
    ("musicnn", {"output": "penultimate"}, None, "clip"),
    ("mert", {}, 75.0, "frame"),
    ("wav2vec_bert", {"rate": 50.0, "max_seconds": 1.0}, 50.0, "frame"),
    ("ast", {"max_seconds": 1.0}, None, "clip"),
    ("tiny_encoders:good_frames", {**DECLARED, "dim": 2}, 100.0, "frame"),
    ("tiny_encoders:good_vector", {"sample_rate": 16_000, "dim": 2}, None, "clip"),
])  # fmt: skip
def test_every_kind_declares_what_it_gives(models, model, options, rate, level):
    found = encoder(models.get(model, model), **options)
    clips = [noise(seconds, found.sample_rate, seed) for seed, seconds in enumerate((1.0, 2.17, 1.3))]
    together = found.encode(clips)
    assert (found.rate, found.level) == (rate, level)
    for clip, frames in zip(clips, together, strict=True):
        (alone,) = found.encode([clip])
        torch.testing.assert_close(alone, frames, rtol=1e-4, atol=1e-5)
        assert frames.shape[1] == found.dim and frames.dtype == torch.float32
    assert not torch.allclose(together[0].mean(dim=0), together[1].mean(dim=0))


@pytest.mark.parametrize("model, options", [
    ("frames.onnx", DECLARED), ("fixed.onnx", DECLARED), ("musicnn", {}), ("basic_pitch", {}),
])  # fmt: skip
def test_an_event_lies_in_the_frame_of_its_time(models, model, options):
    if model == "basic_pitch":
        pytest.importorskip("basic_pitch", exc_type=ImportError)
    found = encoder(models.get(model, model), **options)
    for seconds in (0.7, 2.35):
        wav = torch.zeros(3 * found.sample_rate)
        start = round(seconds * found.sample_rate)
        time = torch.arange(found.sample_rate // 2) / found.sample_rate
        wav[start : start + len(time)] = 0.5 * torch.sin(2 * torch.pi * 440 * time)
        change = (found.encode([wav])[0] - found.encode([torch.zeros_like(wav)])[0]).abs().sum(dim=1)
        # Frames see their surroundings; the middle of the event, which all see, is where it is strongest.
        heard = torch.nonzero(change > 0.5 * change.max())[:, 0].double()
        middle = found.offset + (heard.min() + heard.max()) / 2 / found.rate
        assert abs(middle - (seconds + 0.25)) < 0.05


def test_musicnn_in_pieces_equals_the_whole(models):
    clip = noise(11.3, 16_000)
    (whole,) = encoder(models["musicnn"]).encode([clip])
    (pieces,) = encoder(models["musicnn"], max_seconds=2.0).encode([clip])
    assert len(whole) == 1 + len(clip) // 256
    torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-4)


def test_musicnn_reads_the_mel_spectrogram_of_its_paper():
    librosa = pytest.importorskip("librosa")
    wav = noise(1.0, 16_000)
    power = librosa.feature.melspectrogram(
        y=wav.numpy(), sr=16_000, n_fft=512, hop_length=256, n_mels=96, pad_mode="constant"
    )
    filters = torch.from_numpy(librosa.filters.mel(sr=16_000, n_fft=512, n_mels=96)).t()
    np.testing.assert_allclose(log_mel(wav, filters), np.log10(1 + 10_000 * power).T, atol=1e-4)


@pytest.mark.skipif(not MUSICNN.is_dir(), reason="needs the weights of musicnn")
def test_musicnns_own_weights_hear_a_beat_apart_from_a_drone():
    tagger = encoder(str(MUSICNN), output="tags")
    time = torch.arange(6 * 16_000) / 16_000
    drone = 0.1 * torch.sin(2 * torch.pi * 110 * time)
    beat = noise(6, 16_000) * (time % 0.5 < 0.05)
    tags = torch.cat(tagger.encode([drone, beat]))
    ambient = 28
    assert tags[0, ambient] > 2 * tags[1, ambient]
    (frames,) = encoder(str(MUSICNN)).encode([beat])
    assert frames.shape == (1 + len(beat) // 256, 753)


def test_mert_is_the_hubert_that_its_files_describe(models):
    model = transformers.HubertModel.from_pretrained(
        models["mert"], config=transformers.HubertConfig.from_pretrained(models["hubert"])
    ).eval()
    clip = noise(1.5, 24_000)
    normal = (clip - clip.mean()) / (clip.var(correction=0) + 1e-7).sqrt()
    with torch.inference_mode():
        expected = model(normal[None], output_hidden_states=True).hidden_states[1][0]
    found = encoder(models["mert"], layer=1)
    assert (found.sample_rate, found.rate) == (24_000, 75.0)
    torch.testing.assert_close(found.encode([clip])[0], expected, rtol=1e-4, atol=1e-5)


def test_frames_of_the_usual_lengths(models):
    clips = [torch.zeros(n) for n in (16_000, 32_000, 48_000, 160_000, 250_000)]
    assert [len(frames) for frames in encoder(models["hubert"]).encode(clips)] == [49, 99, 149, 499, 781]


_OWN_CODE = """
import transformers

class OwnConfig(transformers.HubertConfig):
    model_type = "mert_model"

class OwnModel(transformers.HubertModel):
    config_class = OwnConfig

    def forward(self, values, **options):
        return super().forward(-values, **options)
"""


def test_the_code_of_a_model_runs_only_when_it_is_asked_for(tmp_path, monkeypatch):
    for place in (transformers.dynamic_module_utils, transformers.utils.hub):
        monkeypatch.setattr(place, "HF_MODULES_CACHE", str(tmp_path / "modules"), raising=False)
    own = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    folder = save_mert(tmp_path / "own_mert", feature_extractor_cqt=True, auto_map=own)
    (tmp_path / "own_mert/own.py").write_text(_OWN_CODE)
    plain = encoder(save_mert(tmp_path / "plain"))
    with pytest.raises(CodecError, match="set remote_code=true"):
        encoder(folder)
    assert not (tmp_path / "modules").exists()
    clip = noise(1.0, 24_000)
    torch.testing.assert_close(
        encoder(folder, remote_code=True).encode([clip]), plain.encode([-clip]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("model, options, message", [
    ("two.onnx", DECLARED, "expected one float input of samples .* found wav0 .* wav1"),
    ("musicnn/msd_musicnn.onnx", DECLARED, "expected samples .* found .*96"),
    ("frames.onnx", {**DECLARED, "output": "logits"}, "no output 'logits'; there are frames"),
    ("frames.onnx", {"sample_rate": 16_000}, "rate must be declared"),
    ("frames.onnx", {**DECLARED, "dim": 5}, "declared size 5, but output frames has 4"),
    ("frames.onnx", {**DECLARED, "rate": 50.0}, "gave 200 frames for 2.00 s, declared is 50 a second"),
    ("clip.onnx", {"sample_rate": 16_000, "level": "frame"}, "it gives one vector for a clip"),
    ("musicnn", {"rate": 50.0}, "rate 50 is declared, but it has 62.5"),
    ("musicnn", {"dim": 50}, "dim 50 is declared, but it has 753"),
    ("musicnn", {"output": "genre"}, "'genre' is none of mid, penultimate, tags"),
    ("cqt", {}, "feature_extractor_cqt, which only its own code runs; set remote_code=true"),
    ("tiny_encoders:nowhere", {**DECLARED, "dim": 2}, "cannot be imported"),
    ("tiny_encoders:HOP", {**DECLARED, "dim": 2}, "is no function"),
    ("tiny_encoders:good_frames", {}, "sample_rate, dim must be declared"),
    ("tiny_encoders:good_frames", DECLARED, r"gave \(200, 2\), declared are embeddings of size 4"),
    ("tiny_encoders:good_frames", {**DECLARED, "dim": 2, "rate": None}, "declared is one vector for a clip"),
    ("tiny_encoders:good_vector", {**DECLARED, "dim": 2}, r"gave \(2,\)"),
    ("tiny_encoders:nan_frames", {**DECLARED, "dim": 2}, "gave NaN or infinite features for 3.30 s"),
    ("tiny_encoders:raising", {**DECLARED, "dim": 2}, "raised KeyError .*input_ids"),
    ("tiny_encoders:shrinking", {**DECLARED, "dim": 2}, "gave 200 frames, then 199 for the same audio"),
    ("tiny_encoders:noisy", {**DECLARED, "dim": 2}, "two embeddings for the same audio"),
    ("wav2vec_bert", {"rate": 25.0}, "gave .* frames for 2.00 s, declared is 25 a second"),
    ("missing.onnx", DECLARED, "no such file"),
])  # fmt: skip
def test_what_differs_from_its_declaration_is_an_error_at_once(models, model, options, message):
    name = str(Path(models["musicnn"]) / "msd_musicnn.onnx") if "/" in model else models.get(model, model)
    with pytest.raises(CodecError, match=message):
        encoder(name, **options)


def test_a_damaged_onnx_file_is_named(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(CodecError, match=r"bad\.onnx: onnxruntime cannot load it"):
        encoder(str(tmp_path / "bad.onnx"), **DECLARED)
