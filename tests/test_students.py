"""Students: batch equals single, windows cover a clip, files round-trip, and the ONNX graph agrees."""

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from student_models import RATE, tiny_student

import codec
from codec.cli import main
from codec.config import from_dict
from codec.errors import CodecError
from codec.students.blocks import FusedSplit, MixedConvNorm
from codec.students.config import StudentConfig
from codec.students.files import load_student, save_student
from codec.students.front import cut
from codec.students.student import Student


def noise(count, seed=0):
    return 0.1 * torch.randn(count, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 400), st.integers(1, 60))
def test_windows_cover_every_sample_and_no_more_than_needed(count, window):
    wav = torch.arange(float(count))
    pieces = cut(wav, window)
    assert pieces.shape == (-(-count // window), window)
    assert set(pieces.flatten().tolist()) == set(wav.tolist())
    # Each is a stretch of the clip, or of the clip repeated.
    assert all(((piece[1:] - piece[:-1]) % count == 1 % count).all() for piece in pieces)


@settings(max_examples=10)
@given(st.lists(st.integers(300, 12_000), min_size=1, max_size=4), st.integers(1, 5))
def test_a_clips_vector_depends_on_no_other(counts, batch_size):
    student = tiny_student()
    clips = [noise(count, seed) for seed, count in enumerate(counts)]
    together = student.embed(clips, batch_size=batch_size)
    alone = torch.cat([student.embed(clip) for clip in clips])
    padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    assert together.shape == (len(clips), student.dim)
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(student.embed(padded, lengths=counts), alone, atol=1e-5)


def test_training_mode_sees_items_alone_as_well():
    student = tiny_student().train()
    wav = torch.stack([noise(student.config.window, seed) for seed in range(3)])
    alone = torch.cat([student(item[None]) for item in wav])
    assert torch.allclose(student(wav), alone, atol=1e-5)


def test_it_reads_what_the_codec_reads(tmp_path):
    student, wav = tiny_student(), noise(9_000).numpy()
    soundfile.write(tmp_path / "a.wav", wav, RATE, subtype="FLOAT")
    from_file = student.embed(tmp_path / "a.wav")
    assert torch.equal(from_file, student.embed(wav))
    assert torch.equal(from_file, student.embed((tmp_path / "a.wav").read_bytes()))
    with pytest.raises(CodecError, match="NaN or infinite"):
        student.embed(np.full(100, np.nan, np.float32))


@pytest.mark.parametrize("architecture", ["mobilenet", "dynamic", "res2net"])
def test_three_sizes_rise_and_every_weight_has_a_gradient(architecture):
    # With some weights all units of a narrow layer are silent for both inputs, and get no gradient.
    torch.manual_seed(0)
    sizes = []
    for size in ("small", "medium", "large"):
        student = Student(StudentConfig(architecture, size, seconds=1.1))
        sizes.append(student.num_parameters)
    assert 0.2e6 < sizes[0] < sizes[1] / 2 < sizes[2] / 4 < 2.5e6
    small = Student(StudentConfig(architecture, "small", seconds=1.1))
    vectors = small(torch.stack([noise(small.config.window, seed) for seed in range(2)]))
    assert vectors.shape == (2, small.dim)
    vectors.square().sum().backward()
    assert [name for name, p in small.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_sizes_that_the_docs_state():
    counts = {(a, s): Student(StudentConfig(a, s)).num_parameters for a in ("mobilenet", "res2net") for s in ("small", "large")}
    assert counts == {
        ("mobilenet", "small"): 291_756,
        ("mobilenet", "large"): 2_979_606,
        ("res2net", "small"): 286_232,
        ("res2net", "large"): 1_844_192,
    }


def test_mixed_kernels_are_one_of_them_where_its_share_is_one():
    torch.manual_seed(0)
    block = MixedConvNorm(6, 4, kernels=3, linear=True)
    block.after = torch.nn.Identity()
    last = block.shares[2]
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([-1e4, 1e4, -1e4])
    x = torch.randn(2, 6, 5, 7)
    expected = torch.nn.functional.conv2d(x, block.weight[1].view(4, 6, 1, 1))
    assert torch.allclose(block(x), expected, atol=1e-5)


def test_the_second_half_of_a_fused_split_sees_the_first():
    torch.manual_seed(0)
    block, seen = FusedSplit(8, 8, 1), {}
    block.second.register_forward_pre_hook(lambda module, inputs: seen.update(second=inputs[0]))
    block.first.register_forward_hook(lambda module, inputs, output: seen.update(first=output))
    block(torch.randn(1, 8, 4, 4))
    gradient, = torch.autograd.grad(seen["second"].sum(), seen["first"])
    assert gradient.abs().min() > 0


def test_files_round_trip_through_the_public_name(tmp_path):
    student = tiny_student()
    save_student(student, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    loaded = codec.load_student(tmp_path, "cpu")
    assert loaded.config == student.config and not loaded.training
    assert torch.equal(loaded.embed(noise(5_000)), student.embed(noise(5_000)))


def test_a_student_is_exported_to_a_folder_of_its_own(tmp_path, capsys):
    save_student(tiny_student(), tmp_path)
    for arguments in (["--onnx"], ["--onnx", str(tmp_path / "out"), "--int8"]):
        assert main(["export", *arguments, "-m", str(tmp_path)]) == 1
        assert "exported to a folder of its own, in 32 bits" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_damaged_and_foreign_folders_are_refused(tmp_path, tiny_model_dir):
    with pytest.raises(CodecError, match=r"config\.json: no such file; a student is"):
        load_student(tmp_path)
    with pytest.raises(CodecError, match="not of a student"):
        load_student(tiny_model_dir)
    save_student(tiny_student(), tmp_path)
    weights = tmp_path / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:100])
    with pytest.raises(CodecError, match="damaged, or not a safetensors file"):
        load_student(tmp_path)
    weights.write_bytes(content)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"num_mels": 16', '"num_mels": 16, "mels": 3'))
    with pytest.raises(CodecError, match=r"student\.front: unknown key 'mels'"):
        load_student(tmp_path)
    config.write_text(config.read_text().replace(', "mels": 3', "").replace('"tiny"', '"res2net"'))
    with pytest.raises(CodecError, match=r"does not fit config\.json"):
        load_student(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "mobilnet"}, "unknown student 'mobilnet'; did you mean 'mobilenet'"),
        ({"seconds": 0.1}, r"config student\.seconds: 0.1 s are fewer than the 64 frames"),
        ({"front": {"hop_length": 0}}, r"config student\.front\.hop_length: expected more than 0"),
        ({"front": {"hop_length": 1024}}, "must be at most n_fft 512"),
        ({"front": {"fmin": 9_000.0}}, "mel bands need"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(CodecError, match=message):
        Student(from_dict(StudentConfig, changes, "student"))


def test_the_graph_agrees_with_the_student_for_any_batch(tmp_path):
    student = tiny_student()
    save_student(student, tmp_path)
    assert main(["export", "--onnx", str(tmp_path), "-m", str(tmp_path)]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "student.onnx", providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts["sample_rate"], facts["window"]) == (str(RATE), str(student.config.window))
    for batch in (1, 3):
        wav = torch.stack([noise(student.config.window, seed) for seed in range(batch)])
        (vectors,) = session.run(None, {"wav": wav.numpy()})
        with torch.no_grad():
            assert np.abs(vectors - student(wav).numpy()).max() < 1e-5
