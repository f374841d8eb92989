"""Pre-trained encoders: sizes, front, audio of any length, files, released weights, embeddings as tables."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from conftest import TINY_CONFIG, make_speech, make_tiny_model
from pretraining_runs import ENCODER
from seanet_models import CAUSAL, TINY
from student_models import tiny_student
from training_runs import RECONSTRUCTION, run_config, write_corpus

from codec.cli import main
from codec.config import from_dict
from codec.encoders.base import EncoderConfig
from codec.encoders.open import open_encoder
from codec.errors import CodecError
from codec.model.files import save_model
from codec.pretraining.models.config import LogMelConfig, PatchEncoderConfig
from codec.pretraining.models.files import load_pretrained, num_parameters, save_pretrained
from codec.pretraining.models.frames import FrameEncoder, FrameEncoderConfig
from codec.pretraining.models.patches import LogMel, PatchEncoder
from codec.pretraining.models.released import convert_released, key_table, read_released
from codec.pretraining.models.transformer import sine_positions
from codec.pretraining.objective.config import PREDICTORS, ClassesConfig
from codec.pretraining.objective.heads import ClassHead, Predictor
from codec.students.files import save_student
from codec.teachers import build_teacher
from codec.train.trainer import Trainer


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return PatchEncoder(from_dict(PatchEncoderConfig, ENCODER)).eval()


@pytest.fixture
def frame_encoder():
    torch.manual_seed(1)
    return FrameEncoder(from_dict(FrameEncoderConfig, {"model": TINY_CONFIG})).eval()


@pytest.mark.parametrize(
    ("size", "weights", "predictor"),
    [("micro", 0.47, 0.11), ("tiny", 5.39, 0.84), ("small", 21.39, 6.52), ("base", 85.25, 26.01)],
)
def test_sizes(size, weights, predictor):
    config = PatchEncoderConfig(size=size)
    assert config.grid == (5, 38) and config.window == 97_520
    with torch.device("meta"):
        shape = PREDICTORS[size]
        found = Predictor(shape, config.shape.dim, config.grid, 1)
        assert num_parameters(PatchEncoder(config)) == pytest.approx(weights * 1e6, abs=5e3)
        assert num_parameters(found) == pytest.approx(predictor * 1e6, abs=5e3)
        if size == "base":
            more = Predictor(shape, 768, config.grid, 5)
            assert num_parameters(more.leave) == pytest.approx(1.97e6, abs=1e4)
            assert num_parameters(ClassHead(768, ClassesConfig())) == pytest.approx(6.82e6, abs=1e4)


def test_the_front_is_that_of_librosa():
    librosa = pytest.importorskip("librosa")
    wav = make_speech(1.0, seed=3).astype(np.float32)
    power = librosa.feature.melspectrogram(
        y=wav, sr=16_000, n_fft=400, hop_length=160, n_mels=80, fmin=50, fmax=8_000, center=False, power=2.0
    )
    expected = (np.log(power + np.finfo(np.float32).eps) + 7.056) / 4.193
    found = LogMel(LogMelConfig())(torch.from_numpy(wav)[None])[0]
    assert found.shape == (80, 1 + (16_000 - 400) // 160)
    assert np.allclose(found, expected, atol=2e-3)


def test_positions_are_unlike_and_near_ones_alike():
    positions = sine_positions((5, 38), 64)
    assert positions.shape == (190, 64)
    products = positions @ positions.T
    assert (products.argmax(dim=1) == torch.arange(190)).all()
    assert products[0, 1] > products[0, 20] and products[0, 38] > products[0, 4 * 38]
    assert torch.equal(sine_positions((1, 7), 8)[0], torch.tensor([0.0] * 4 + [1.0] * 4))


def test_ten_seconds_are_63_frames_of_3840():
    with torch.device("meta"):
        encoder = PatchEncoder(PatchEncoderConfig())
    assert (encoder.dim, encoder.rate) == (3840, 6.25)
    micro = PatchEncoder(PatchEncoderConfig(size="micro"))
    frames, empty = micro.frames([torch.zeros(160_000), torch.zeros(1)])
    assert frames.shape == (63, 480) and empty.shape == (1, 480)


def test_frames_have_low_bands_first_and_times_in_order(encoder):
    wav = 0.1 * torch.randn(encoder.config.window)
    tokens = encoder.tokens(encoder.front(wav[None]))
    found = encoder(tokens)[0, 1:]
    frames = encoder.frames([wav])[0]
    rows, columns = encoder.config.grid
    for row, column in ((0, 0), (1, 0), (0, 1), (rows - 1, columns - 1)):
        part = frames[column, row * 16 : (row + 1) * 16]
        assert torch.allclose(part, found[row * columns + column], atol=1e-5)


def test_a_short_piece_has_the_first_positions_of_every_row(encoder):
    mel = torch.randn(1, 16, 32)
    whole, half = encoder.tokens(mel).unflatten(1, (4, 8)), encoder.tokens(mel[:, :, :16]).unflatten(1, (4, 4))
    assert torch.allclose(whole[:, :, :4], half, atol=1e-6)


def test_audio_of_any_length_alone_and_in_a_batch(encoder):
    torch.manual_seed(0)
    wavs = [0.1 * torch.randn(count) for count in (1, 700, 2112, 2113, 5000, 9001, 4000)]
    together = encoder.frames(wavs, batch_size=3)
    for wav, frames in zip(wavs, together, strict=True):
        mels = 1 + max(0, len(wav) - 128) // 64
        assert frames.shape == (-(-mels // 4), encoder.dim)
        assert torch.allclose(frames, encoder.frames([wav])[0], atol=1e-5)
    vectors = encoder.embed([wav.numpy() for wav in wavs[1:]])
    assert torch.allclose(vectors[2], together[3].mean(dim=0), atol=1e-5)
    # A whole piece does not depend on what follows.
    assert torch.allclose(together[5][:8], encoder.frames([wavs[5][:2112]])[0], atol=1e-5)


def test_every_block_s_output_can_be_had(encoder):
    deeper = PatchEncoder(from_dict(PatchEncoderConfig, {**ENCODER, "depth": 2}))
    wav = 0.1 * torch.randn(3000)
    first, second, last = (deeper.frames([wav], depth)[0] for depth in (1, 2, None))
    assert not torch.allclose(first, second, atol=1e-3)
    normed = deeper.transformer.norm(second.unflatten(1, (4, 16))).flatten(1)
    assert torch.allclose(normed, last, atol=1e-5)
    with pytest.raises(CodecError, match="the encoder has blocks 1 to 1"):
        encoder.embed(wav, depth=2)


def test_files_keep_an_encoder(encoder, frame_encoder, tmp_path):
    for name, module in (("a", encoder), ("b", frame_encoder)):
        save_pretrained(module, tmp_path / name)
        loaded = load_pretrained(tmp_path / name, "cpu")
        assert loaded.config == module.config and not loaded.training
        wav = 0.1 * torch.randn(4000)
        assert torch.equal(loaded.frames([wav])[0], module.frames([wav])[0])


def test_damaged_and_foreign_folders_are_refused(encoder, tmp_path):
    with pytest.raises(CodecError, match="no pre-trained encoder"):
        load_pretrained(tmp_path)
    save_pretrained(encoder, tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    settings = values["encoder"]
    (tmp_path / "config.json").write_text(json.dumps({**values, "encoder": {**settings, "dim": 32}}))
    with pytest.raises(CodecError, match=r"does not fit config\.json"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**values, "encoder": {**settings, "depht": 1}}))
    with pytest.raises(CodecError, match="did you mean 'depth'"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(CodecError, match="damaged"):
        load_pretrained(tmp_path)


def released(depth=2, width=128, frames=608):
    """A state dict of the released form, of random weights, with positions laid out in some other way."""
    torch.manual_seed(2)
    encoder = PatchEncoder(PatchEncoderConfig(dim=width, depth=depth, heads=2, frames=frames))
    encoder.positions.copy_(torch.randn(encoder.positions.shape))
    ours = encoder.state_dict()
    theirs = {name: ours[own] for name, own in key_table(depth).items()}
    theirs["pos_embed"] = torch.cat([torch.zeros(1, width), ours["positions"]])[None]
    return encoder.eval(), {**theirs, "head.weight": torch.zeros(527, width)}


def test_released_weights_are_read_by_name(tmp_path):
    encoder, theirs = released()
    assert {"patch_embed.proj.weight", "cls_token", "student_encoder.blocks.1.attn.qkv.bias"} <= theirs.keys()
    torch.save(theirs, tmp_path / "weights.pt")
    found = read_released(tmp_path / "weights.pt")
    wav = 0.1 * torch.randn(40_000)
    assert torch.equal(found.frames([wav])[0], encoder.frames([wav])[0])
    assert convert_released(released(frames=992)[1]).config.frames == 992
    theirs["pos_embed"][:, 0] = 1.0
    moved = convert_released(theirs)
    assert torch.equal(moved.cls, encoder.cls + 1) and torch.equal(moved.positions, encoder.positions)


def test_other_weights_are_refused(tmp_path):
    _, theirs = released(depth=1)
    with pytest.raises(CodecError, match=r"student_encoder\.norm\.bias is missing"):
        convert_released({name: value for name, value in theirs.items() if name != "student_encoder.norm.bias"})
    with pytest.raises(CodecError, match="not of a MATPAC encoder"):
        convert_released({"x": torch.zeros(1)})
    with pytest.raises(CodecError, match="does not fit"):
        convert_released({**theirs, "cls_token": torch.zeros(1, 1, 64)})
    (tmp_path / "x.pt").write_bytes(b"no weights")
    with pytest.raises(CodecError, match="cannot be read"):
        read_released(tmp_path / "x.pt")


def test_latents_do_not_depend_on_how_they_are_computed(frame_encoder, monkeypatch):
    wav = 0.1 * torch.randn(320 * 9 + 7)
    whole = frame_encoder.frames([wav])[0]
    assert whole.shape == (10, 8)
    monkeypatch.setattr("codec.pretraining.models.frames._CHUNK", 3)
    assert torch.allclose(frame_encoder.frames([wav])[0], whole, atol=1e-5)


@pytest.fixture
def folders(encoder, frame_encoder, tmp_path):
    """A folder of each kind that this project writes, by kind."""
    save_pretrained(encoder, tmp_path / "matpac")
    save_pretrained(frame_encoder, tmp_path / "frames")
    save_student(tiny_student(), tmp_path / "student")
    save_model(make_tiny_model(), tmp_path / "codec")
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "level", "rate", "dim"),
    [
        ("matpac", "frame", 15.625, 64),
        ("frames", "frame", 50.0, 8),
        ("codec", "frame", 50.0, 8),
        ("student", "clip", None, 12),
    ],
)
def test_all_of_ours_are_encoders(folders, kind, level, rate, dim):
    found = open_encoder(EncoderConfig(model=str(folders / kind)))
    assert (found.level, found.rate, found.dim) == (level, rate, dim)
    assert open_encoder(EncoderConfig(model=str(folders / kind))).name == found.name != kind


def test_a_pre_trained_encoder_is_a_teacher_of_clips(folders):
    teacher = build_teacher("x", {"type": "embedding", "model": str(folders / "matpac"), "level": "clip"})
    assert (teacher.info.level, teacher.info.dim, teacher.sample_rate) == ("clip", 64, 4_000)


def test_a_codec_s_quantized_latents_are_those_it_decodes(folders):
    wav = torch.from_numpy(make_speech(0.7)).float()
    model = make_tiny_model()
    found = open_encoder(EncoderConfig(model=str(folders / "codec"), output="quantized")).encode([wav])[0]
    codes = model.encode(wav).codes[0]
    expected = sum(model.quantizer.codebooks[layer][codes[layer]] for layer in range(len(codes)))
    assert torch.allclose(found, expected, atol=1e-5)
    with pytest.raises(CodecError, match="none of latent, quantized"):
        open_encoder(EncoderConfig(model=str(folders / "codec"), output="x"))
    with pytest.raises(CodecError, match="layer 3 is none of last, 1 to 1"):
        open_encoder(EncoderConfig(model=str(folders / "matpac"), layer=3))


def test_embed_writes_a_row_a_frame_or_a_clip(folders, tmp_path, encoder):
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for number, seconds in enumerate((0.5, 0.8)):
        soundfile.write(recordings / f"{number}.wav", make_speech(seconds, 4_000, seed=number), 4_000)
    target, model = tmp_path / "out.parquet", str(folders / "matpac")
    assert main(["embed", str(recordings), str(target), "-m", model]) == 0
    rows = pq.read_table(target).to_pydict()
    expected = encoder.frames([torch.from_numpy(soundfile.read(recordings / f"{i}.wav", dtype="float32")[0]) for i in (0, 1)])
    assert rows["path"] == ["0.wav"] * len(expected[0]) + ["1.wav"] * len(expected[1])
    assert rows["time"][:2] == pytest.approx([encoder.offset, encoder.offset + 1 / encoder.rate])
    assert np.allclose(rows["embedding"], torch.cat(expected), atol=1e-5)
    assert main(["embed", str(recordings), str(target), "-m", model, "--level", "clip"]) == 1  # It exists.
    assert main(["embed", str(recordings), str(target), "-m", model, "--level", "clip", "--overwrite"]) == 0
    table = pq.read_table(target)
    assert np.allclose(table["embedding"].to_pylist(), [frames.mean(dim=0).tolist() for frames in expected], atol=1e-5)
    assert table["time"].to_pylist() == [None, None]
    assert table.schema.metadata[b"codec.dim"] == b"64"


def test_embed_goes_on_past_what_it_cannot_read(folders, tmp_path, capsys):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    soundfile.write(tmp_path / "good.wav", make_speech(0.5), 16_000)
    lines = [json.dumps({"path": name, "seconds": 1.0}) for name in ("bad.wav", "good.wav")]
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n")
    target = tmp_path / "out.parquet"
    assert main(["embed", str(tmp_path / "m.jsonl"), str(target), "-m", str(folders / "student")]) == 1
    assert pq.read_table(target)["path"].to_pylist() == ["good.wav"]
    assert "bad.wav" in capsys.readouterr().err
    assert main(["embed", str(tmp_path / "bad.wav"), str(tmp_path / "x.parquet"), "-m", str(folders / "student")]) == 1
    assert main(["embed", str(tmp_path / "good.wav"), str(tmp_path / "x.csv")]) == 1
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize("network", [CAUSAL, TINY], ids=["causal", "not causal"])
def test_a_seanet_starts_from_one_too(network, tmp_path):
    """Its convolutions are trained as directions and lengths, which an encoder alone is not."""
    model = {"architecture": "seanet", "sample_rate": 4_000, "network": network}
    encoder = FrameEncoder(from_dict(FrameEncoderConfig, {"model": model}))
    save_pretrained(encoder, tmp_path / "pretrained")
    manifest = write_corpus(tmp_path / "data")
    quantizer = {"num_codebooks": 2, "codebook_size": 8}
    changes = {**RECONSTRUCTION, "init_from": str(tmp_path / "pretrained"), "model": {**model, "quantizer": quantizer}}
    codec = Trainer(run_config(tmp_path, manifest, **changes)).task.parts.state.released()
    wav = 0.1 * torch.randn(1, 40 * 50)
    with torch.no_grad():
        assert torch.allclose(codec.encoder(wav)[0], encoder.encoder(wav)[0], atol=1e-5)


def test_a_codec_starts_from_a_pre_trained_encoder(frame_encoder, tmp_path):
    save_pretrained(frame_encoder, tmp_path / "pretrained")
    manifest = write_corpus(tmp_path / "data")
    changes = {"output": str(tmp_path / "a"), "max_steps": 2, "init_from": str(tmp_path / "pretrained")}
    trainer = Trainer(run_config(tmp_path, manifest, **changes))
    codec = trainer.task.parts.state.generator.codec
    for name, value in frame_encoder.encoder.state_dict().items():
        assert torch.equal(codec.encoder.state_dict()[name], value), name
    # The codebooks are still to be found from the first crops.
    assert not trainer.task.parts.state.generator.quantizer.ready
    trainer.run()
    assert any(
        not torch.equal(codec.encoder.state_dict()[name], value)
        for name, value in frame_encoder.encoder.state_dict().items()
    )
    other = {**TINY_CONFIG, "network": {**TINY_CONFIG["network"], "encoder_layers": 3}}
    model = {**other, "quantizer": {"num_codebooks": 2, "codebook_size": 8}}
    with pytest.raises(CodecError, match="its config.json differs from this run's model"):
        Trainer(run_config(tmp_path, manifest, **changes | {"output": str(tmp_path / "b"), "model": model}))
