"""Choosing an engine, and the compiled one."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from conftest import make_speech, make_tiny_model
from safetensors.torch import save_file
from streams import stream_many, stream_one

import codec
from codec.cli import main
from codec.engines.layout import is_export, shipped_graphs
from codec.errors import CodecError
from codec.model.files import find_model

ASSET = Path(codec.__file__).parent / "assets" / "speech.flac"
CAN_COMPILE = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6)
SPEECH = torch.from_numpy(make_speech(1.0))


def load(folder, engine: str) -> codec.Codec:
    return codec.load(folder, device="cpu", engine=engine)


def test_auto_is_torch_where_there_are_no_graphs(tiny_model_dir):
    assert codec.load(tiny_model_dir, device="cpu").engine.name == "torch"
    assert load(tiny_model_dir, "auto").engine.name == "torch"


def test_graphs_or_a_runtime_that_are_missing_are_told_in_words(tiny_model_dir, tmp_path, monkeypatch):
    with pytest.raises(CodecError, match=r"no graphs in .*; make them with: codec export --onnx --model"):
        load(tiny_model_dir, "onnx")
    known = "choose auto, torch, compile, graph, onnx or a folder"
    with pytest.raises(CodecError, match=f"no engine 'nobody'; {known}"):
        load(tiny_model_dir, "nobody")
    for name in ("encoder.onnx", "decoder.onnx"):
        (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CodecError, match=r"needs onnxruntime; run: pip install 'codec\[onnx\]'"):
        load(tiny_model_dir, str(tmp_path))


def test_the_graphs_of_the_shipped_model_are_those_of_its_network():
    pytest.importorskip("onnxruntime")
    if not is_export(shipped_graphs(find_model("default"))):
        pytest.skip("no graphs are shipped: codec export --onnx")
    exported, plain = load("default", "auto"), load("default", "torch")
    assert exported.engine.name == "onnx", "of another config; make them again: codec export --onnx"
    wav = codec.load_audio(ASSET, plain.sample_rate).wav
    tokens = plain.encode(wav)
    # Rounding may flip a code of a few frames; another network would leave none alone.
    assert (exported.encode(wav).codes == tokens.codes).float().mean() > 0.99
    torch.testing.assert_close(exported.decode(tokens), plain.decode(tokens), atol=1e-5, rtol=0)


def test_the_commands_take_an_engine(tiny_model_dir, speech_file, tmp_path, capsys):
    tokens = tmp_path / "tokens.rvq"
    arguments = ["-m", str(tiny_model_dir), "--engine"]
    assert main(["encode", str(speech_file), str(tokens), *arguments, "torch"]) == 0
    assert main(["decode", str(tokens), str(tmp_path / "out.wav"), *arguments, "auto"]) == 0
    assert main(["decode", str(tokens), str(tmp_path / "no.wav"), *arguments, "nobody"]) == 1
    assert "no engine 'nobody'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.skipif(not CAN_COMPILE, reason="torch.compile fails at the networks before PyTorch 2.6")
@pytest.mark.skipif(not shutil.which("g++") and not shutil.which("clang++"), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex operators")
def test_the_compiled_engine_has_the_same_codes(tiny_model, tiny_model_dir):
    compiled = load(tiny_model_dir, "compile")
    tokens = tiny_model.encode(SPEECH)
    expected = tiny_model.decode(tokens)[0]
    streamed = stream_one(compiled, SPEECH, [320])
    assert torch.equal(streamed.codes, tokens.codes[0])
    torch.testing.assert_close(streamed.wav, expected, atol=1e-5, rtol=0)
    for (streamed,) in stream_many(compiled, [[SPEECH], [SPEECH]], [[320], [320]]):
        assert torch.equal(streamed.codes, tokens.codes[0])


def test_an_older_pytorch_is_refused_by_the_compiled_engine(tiny_model_dir, monkeypatch):
    monkeypatch.setattr("torch.__version__", "2.4.1+cpu")
    with pytest.raises(CodecError, match=r"needs PyTorch 2\.6 or newer, this is 2\.4\.1\+cpu; use torch"):
        load(tiny_model_dir, "compile")


@pytest.mark.skipif(not CAN_COMPILE, reason="torch.compile fails at the networks before PyTorch 2.6")
def test_a_missing_compiler_costs_one_line(tiny_model_dir, monkeypatch, tmp_path):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/no/compiler"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    encoder = load(tiny_model_dir, "compile").streaming_encoder()
    encoder.push(SPEECH[:320])
    with pytest.raises(CodecError, match=r"the engine compile needs a C\+\+ compiler .*; use torch"):
        encoder.push(SPEECH[320:640])


def linear_weights(module) -> list[torch.Tensor]:
    return [part.weight for part in module.modules() if isinstance(part, torch.nn.Linear)]


def test_loaded_parameters_lie_as_everyone_expects(tiny_model_dir, tmp_path):
    model = codec.load(tiny_model_dir, device="cpu")
    assert all(tensor.is_contiguous() for tensor in model.state_dict().values())
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    vector = torch.nn.utils.parameters_to_vector(model.parameters())
    assert len(vector) == sum(p.view(-1).numel() for p in model.parameters())


def test_torch_computes_with_weights_column_by_column(tiny_model_dir):
    """The layout in which MKL rounds two rows as it rounds any number (docs/streaming.md)."""
    model = codec.load(tiny_model_dir, device="cpu")
    engine = model.engine
    engine.encoding(1), engine.decoding()
    for name in ("encoder", "decoder"):
        ours, theirs = (linear_weights(m) for m in (engine._copy(name), model.get_submodule(name)))
        assert ours and all(weight.stride() == (1, len(weight)) for weight in ours)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("through", ["add_", "data", "load"])
def test_changed_weights_are_computed_with(through):
    model, wav = make_tiny_model(), torch.from_numpy(make_speech(0.3))
    tokens = model.encode(wav)
    model.decode(tokens)
    other = make_tiny_model(1)
    with torch.no_grad():
        if through == "load":
            model.load_state_dict(other.state_dict())
        for old, new in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
            if through == "data":
                old.data.copy_(new)
            if through == "add_":
                old.add_(new - old).copy_(new)
    assert torch.equal(model.encode(wav).codes, other.encode(wav).codes)
    assert torch.equal(model.decode(tokens, force=True), other.decode(tokens, force=True))


def test_a_stream_keeps_the_weights_with_which_it_began():
    model, wav = make_tiny_model(), torch.from_numpy(make_speech(0.3))
    expected, stream = model.encode(wav).codes, model.streaming_encoder()
    first = stream.push(wav[:1600])
    with torch.no_grad():
        for weight in model.encoder.parameters():
            weight.add_(0.1)
    codes = torch.cat([first, stream.push(wav[1600:]), stream.flush()], dim=2)
    assert torch.equal(codes, expected)


def test_training_mode_changes_no_codes():
    model, wav = make_tiny_model(), torch.from_numpy(make_speech(0.3))
    expected = model.encode(wav)
    assert torch.equal(model.train().encode(wav).codes, expected.codes)
    assert model.training
