"""Exported graphs: the codes and the sound are PyTorch's, cut and mixed in any way."""

import copy
import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from conftest import make_speech, make_tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from seanet_models import CAUSAL, CAUSAL_LSTM, TINY, make_seanet
from streams import stream_many, stream_one

import codec
from codec.cli import main
from codec.errors import CodecError

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from codec.engines import layout
from codec.engines.onnx import OnnxEngine
from codec.export.folder import export_graphs, export_onnx
from codec.export.fourier import irfft_by_matrix, rfft_by_matrix

SPEECH = torch.from_numpy(make_speech(4.0))
HOP = 320
# An export takes as long as there are layers.
FEW_LAYERS = {"strides": [20, 2], "n_residual_layers": 1, "lstm_layers": 1}
MODELS = {
    "spectral": make_tiny_model,
    "spectral-noise": lambda: make_tiny_model(noise_bands=6),
    "spectral-phases": lambda: make_tiny_model(noise_bands=6, phase_from=0.25, comb=5.0, contrast=0.2),
    "spectral-semantic": lambda: make_tiny_model(
        semantic_layers=1, semantic_from=1, semantic_dim=3, level_bands=9, look_ahead=1
    ),
    "seanet": lambda: make_seanet(CAUSAL),
    "seanet-mirror": lambda: make_seanet(CAUSAL_LSTM | FEW_LAYERS | {"edges": "mirror"}),
}

fixed = settings(max_examples=8, deadline=None, derandomize=True)
models = st.sampled_from(sorted(MODELS))
sizes = st.lists(st.integers(1, 2_000), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """By architecture: a model and a folder with it, its graphs, and ``full`` and ``int8`` exports."""
    made = {}
    for name, make in MODELS.items():
        folder = tmp_path_factory.mktemp(name)
        model = make()
        codec.save(model, folder)
        export_graphs(model, folder)
        made[name] = model, folder
    model, folder = made["spectral"]
    export_onnx(model, folder / "full")
    export_onnx(model, folder / "int8", int8=True)
    return made


def load(folder, engine: str = "onnx") -> codec.Codec:
    return codec.load(folder, device="cpu", engine=engine)


@fixed
@given(name=models, length=st.integers(1, 6_000), cuts=sizes)
def test_codes_and_sound_are_those_of_pytorch_offline_and_streamed(exports, name, length, cuts):
    model, folder = exports[name]
    exported = load(folder)
    assert exported.engine.name == "onnx"
    wav = SPEECH[700 : 700 + length]
    expected = model.encode(wav)
    assert torch.equal(exported.encode(wav).codes, expected.codes)
    sound = model.decode(expected)
    torch.testing.assert_close(exported.decode(expected), sound, atol=1e-5, rtol=0)
    streamed = stream_one(exported, wav, cuts)
    assert torch.equal(streamed.codes, expected.codes[0])
    torch.testing.assert_close(streamed.wav, sound[0], atol=1e-5, rtol=0)


@fixed
@given(data=st.data(), name=models, batch=st.integers(2, 4))
def test_slots_and_padded_batches(exports, data, name, batch):
    model, folder = exports[name]
    exported = load(folder)
    lengths = [data.draw(st.integers(1, 3_000)) for _ in range(batch)]
    wavs = [SPEECH[99 * slot : 99 * slot + n] for slot, n in enumerate(lengths)]
    padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    tokens = exported.encode(padded, lengths=torch.tensor(lengths))
    assert torch.equal(tokens.codes, model.encode(padded, lengths=torch.tensor(lengths)).codes)
    torch.testing.assert_close(exported.decode(tokens), model.decode(tokens), atol=1e-5, rtol=0)
    cuts = [data.draw(sizes) for _ in wavs]
    for wav, (streamed,) in zip(wavs, stream_many(exported, [[wav] for wav in wavs], cuts), strict=True):
        alone = model.encode(wav)
        assert torch.equal(streamed.codes, alone.codes[0])
        torch.testing.assert_close(streamed.wav, model.decode(alone)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [1, 5])
def test_fewer_codebooks(exports, count):
    model, folder = exports["spectral"]
    exported = load(folder)
    tokens = exported.encode(SPEECH[:5_000], num_codebooks=count)
    assert torch.equal(tokens.codes, model.encode(SPEECH[:5_000], num_codebooks=count).codes)
    torch.testing.assert_close(exported.decode(tokens), model.decode(tokens), atol=1e-5, rtol=0)


@pytest.mark.parametrize("engine", ["onnx", "full", "int8"])
def test_a_frame_does_not_depend_on_what_is_computed_with_it(exports, engine):
    _, folder = exports["spectral"]
    exported = load(folder, engine if engine == "onnx" else str(folder / engine))
    whole = exported.encode(SPEECH[:20_000])
    streamed = stream_one(exported, SPEECH[:20_000], [320])
    assert torch.equal(streamed.codes, whole.codes[0])
    assert torch.equal(streamed.wav, exported.decode(whole)[0])


@pytest.mark.parametrize("name", ["spectral", "spectral-phases"])
def test_sound_of_a_batch_and_of_its_streams_is_that_of_each_alone(exports, name):
    """63 frames: what is summed for a frame begins anywhere in the packets of a processor."""
    exported = load(exports[name][1])
    wavs = torch.stack([SPEECH[start : start + 63 * HOP] for start in range(0, 25_000, 5_000)])
    codes = exported.encode(wavs).codes
    alone = torch.cat([exported.decode(one.unsqueeze(0)) for one in codes])
    assert torch.equal(exported.decode(codes), alone)
    decoder = exported.streaming_decoder(len(codes))
    sound = [decoder.push(codes[..., start : start + 1]) for start in range(63)]
    assert torch.equal(torch.cat([*sound, decoder.flush()], dim=1), alone)


@pytest.mark.parametrize("engine", ["onnx", "full"])
def test_what_a_frame_leaves_behind_is_the_same_to_the_last_bit(exports, engine):
    """Codes show a difference of rounding once in a hundred thousand times, the states at once."""
    _, folder = exports["spectral"]
    exported = load(folder, engine if engine == "onnx" else str(folder / engine))
    for size in (1, 3, 8):
        states = []
        for step in (size * HOP, 24 * HOP):
            encoder = exported.streaming_encoder()
            for start in range(0, 24 * HOP, step):
                encoder.push(SPEECH[start : start + step])
            states.append({name: x for name, x in encoder.state_dict().items() if name.startswith("steps")})
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_stream_saved_with_one_engine_goes_on_with_another(exports, name):
    model, folder = exports[name]
    first, second = model.streaming_encoder(2), load(folder).streaming_encoder(2)
    wav = SPEECH[:8_000].reshape(2, 4_000)
    first.push(wav[:, :1_777], [1_777, 50])
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.push(wav[:, 1_777:]), second.push(wav[:, 1_777:]))
    assert torch.equal(second.flush(), first.flush())
    decoders = [model.streaming_decoder(1), load(folder).streaming_decoder(1)]
    codes = model.encode(SPEECH[:4_000]).codes
    decoders[0].push(codes[..., :5])
    decoders[1].load_state_dict(decoders[0].state_dict())
    one, other = (decoder.push(codes[..., 5:]) for decoder in decoders)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_the_weights_beside_the_graphs_count_and_not_those_they_were_made_with(exports, tmp_path):
    _, folder = exports["spectral"]
    other = make_tiny_model(seed=5)
    for tensor in other.state_dict().values():
        # Norms and biases of a new model are alike; a graph that had merged them would be found out.
        if tensor.ndim == 1:
            tensor.add_(0.1 * torch.randn(tensor.shape))
    codec.save(other, tmp_path)
    (tmp_path / "onnx").symlink_to(folder / "onnx")
    exported = load(tmp_path, "auto")
    assert exported.engine.name == "onnx"
    tokens = other.encode(SPEECH[:16_000])
    assert torch.equal(exported.encode(SPEECH[:16_000]).codes, tokens.codes)
    torch.testing.assert_close(exported.decode(tokens), other.decode(tokens), atol=1e-5, rtol=0)


def test_an_export_of_another_model_is_refused(exports, other_model_dir):
    model, folder = exports["spectral"]
    with pytest.raises(CodecError, match=f"of model {model.fingerprint}, this is"):
        load(other_model_dir, str(folder / "full")).encode(SPEECH)
    retrained = copy.deepcopy(model)
    retrained.decoder.backbone.out.bias.add_(0.1)
    assert retrained.fingerprint == model.fingerprint
    engine = OnnxEngine(retrained, folder / "full")
    engine.encoding(1)
    with pytest.raises(CodecError, match=r"decoder.onnx: of model"):
        engine.decoding()


def test_graphs_of_another_config_are_refused_and_not_picked(exports, tmp_path):
    _, folder = exports["spectral"]
    codec.save(make_seanet(CAUSAL), tmp_path)
    (tmp_path / "onnx").symlink_to(folder / "onnx")
    assert load(tmp_path, "auto").engine.name == "torch"
    with pytest.raises(CodecError, match="another config; run codec export again"):
        load(tmp_path).encode(SPEECH)


def test_damaged_graphs_cost_one_line(exports, tmp_path):
    model, folder = exports["spectral"]
    for name in (layout.ENCODER, layout.DECODER, layout.GRAPHS):
        (tmp_path / name).write_bytes((folder / "onnx" / name).read_bytes()[:1_000])
    with pytest.raises(CodecError, match=r"graphs.json: damaged .*; run codec export again"):
        OnnxEngine(model, tmp_path).encoding(1)
    (tmp_path / layout.GRAPHS).unlink()
    with pytest.raises(CodecError, match=r"encoder.onnx: cannot be loaded .*; run codec export again"):
        OnnxEngine(model, tmp_path).encoding(1)


def test_graphs_say_what_they_are(exports):
    model, folder = exports["spectral"]
    session = onnxruntime.InferenceSession(folder / "full" / layout.ENCODER)
    facts = session.get_modelmeta().custom_metadata_map
    assert facts[layout.FINGERPRINT_KEY] == model.fingerprint
    assert json.loads(facts[layout.CONFIG_KEY])["architecture"] == "spectral"
    wav, *states = session.get_inputs()
    codes, *new_states = session.get_outputs()
    assert (wav.name, wav.shape) == ("wav", ["batch", "320*frames"])
    assert (codes.name, codes.shape) == ("codes", ["batch", 8, "frames"])
    assert [state.name for state in states] == [f"state.{index}" for index in range(len(states))]
    assert [state.shape for state in new_states] == [state.shape for state in states]
    assert all(shape[0] == "batch" for shape in (state.shape for state in states))


def test_int8_is_smaller_and_keeps_most_of_the_sound(exports):
    model, folder = exports["spectral"]
    quantized = load(folder, str(folder / "int8"))
    tokens = model.encode(SPEECH)
    sound, expected = quantized.decode(tokens), model.decode(tokens)
    assert 0 < (sound - expected).abs().max() < 0.1 * expected.abs().max()
    for name in (layout.ENCODER, layout.DECODER):
        full, small = (folder / kind / name for kind in ("full", "int8"))
        assert small.stat().st_size < full.stat().st_size


@pytest.mark.parametrize("length", [2, 8, 640])
def test_fourier_transforms_by_matrix(length):
    x = torch.randn(3, 2, length, dtype=torch.float64)
    spectrum = torch.fft.rfft(x)
    torch.testing.assert_close(rfft_by_matrix(x), spectrum, atol=1e-10, rtol=0)
    noise = torch.randn_like(spectrum)
    torch.testing.assert_close(irfft_by_matrix(noise), torch.fft.irfft(noise), atol=1e-10, rtol=0)
    with pytest.raises(CodecError, match="only those of an even length"):
        rfft_by_matrix(x[..., 1:])


def test_what_cannot_be_exported_leaves_nothing_behind(tmp_path, monkeypatch):
    with pytest.raises(CodecError, match="needs the whole recording"):
        export_onnx(make_seanet(TINY), tmp_path / "out")
    model = make_seanet(CAUSAL)
    # Python that looks at values has no counterpart in a graph.
    forward = model.encoder.forward
    monkeypatch.setattr(model.encoder, "forward", lambda x, state=None: forward(x * float(x.max()), state))
    with pytest.raises(CodecError, match="this network cannot be exported to ONNX"):
        export_onnx(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(tiny_model, tiny_model_dir, tmp_path, speech_file, capsys):
    out = tmp_path / "exported"
    assert main(["export", "--onnx", str(out), "-m", str(tiny_model_dir), "--int8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        str(out / n) for n in (layout.ENCODER, layout.DECODER)
    ]
    tokens = tmp_path / "tokens.pt"
    for engine in (str(out), "torch", "auto"):
        arguments = [str(speech_file), str(tokens), "-m", str(tiny_model_dir), "--overwrite"]
        assert main(["encode", *arguments, "--engine", engine]) == 0
    assert main(["export", "--onnx", "-m", str(tiny_model_dir), "--int8"]) == 1
    assert main(["export", str(out)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[-2].endswith("--int8 needs an output folder: codec export --onnx OUT --int8")
    assert errors[-1].endswith("name an export format: codec export --onnx [OUT]")


def test_the_command_without_the_extra(tiny_model_dir, tmp_path):
    script = (
        "import sys; sys.modules['onnx_ir'] = sys.modules['onnxscript'] = None\n"
        f"from codec.cli import main; sys.exit(main(['export', '--onnx', {str(tmp_path / 'x')!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.endswith("run: pip install 'codec[onnx]'") and "codec export needs the package" in line


def test_layout_facts_read_back(tmp_path):
    facts = layout.GraphsFile("1", "{}", ["a"], ["b", "c"])
    (tmp_path / layout.GRAPHS).write_text(facts.to_json())
    assert layout.read_graphs_file(tmp_path) == facts == dataclasses.replace(facts)
