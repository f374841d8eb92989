"""What the core may import, and advice about a torchaudio that was built for another torch."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

PACKAGE = Path(__file__).resolve().parents[1] / "codec"

EXTRAS = {"codec.train", "codec.eval", "codec.demo", "codec.export", "codec.serve", "codec.bench"}
# What the extras and the test tools bring; none of it may be loaded by encoding and decoding.
FOREIGN = [
    "accelerate", "datasets", "einops", "faster_whisper", "hypothesis", "jiwer", "librosa", "matplotlib",
    "onnx", "onnxruntime", "onnxscript", "pesq", "prometheus_client", "pystoi", "pytest", "resemblyzer", "scipy", "sklearn", "tensorboard",
    "torchaudio", "transformers", "vector_quantize_pytorch", "websockets", "yaml",
]  # fmt: skip

ROUND_TRIP = """
import json, sys
import codec, codec.cli
light = "torch" not in sys.modules
assert codec.cli.main(["encode", sys.argv[1], sys.argv[2] + "/t.rvq", "-m", sys.argv[3]]) == 0
assert codec.cli.main(["decode", sys.argv[2] + "/t.rvq", sys.argv[2] + "/t.wav", "-m", sys.argv[3]]) == 0
print(json.dumps({"light": light, "modules": sorted(sys.modules)}))
"""


def test_imports_go_down_the_floors_and_never_in_circles(monkeypatch, capsys):
    monkeypatch.chdir(PACKAGE.parent)
    kept = lint_imports(config_filename="pyproject.toml", cache_dir=None) == 0
    assert kept, capsys.readouterr().out


def test_encoding_and_decoding_load_nothing_foreign(tmp_path, speech_file, tiny_model_dir):
    command = [sys.executable, "-c", ROUND_TRIP, speech_file, tmp_path, tiny_model_dir]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(result.stdout)
    assert report["light"], "importing codec and codec.cli should not import torch"
    loaded = set(report["modules"])
    assert {"torch", "soundfile", "soxr", "safetensors"} <= loaded
    assert not loaded & set(FOREIGN)
    assert not [name for name in loaded if any(name.startswith(extra) for extra in EXTRAS)]


def with_torchaudio(tmp_path: Path, version: str, code: str) -> subprocess.CompletedProcess:
    """Run ``code`` where this version of torchaudio is installed, which raises when it is imported."""
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text("raise OSError('libcudart.so.13')")
    info = tmp_path / f"torchaudio-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torchaudio\nVersion: {version}\n")
    path = os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


@pytest.mark.parametrize(
    "action", ["pass", "assert codec.cli.main(['--help']) == 0", "assert codec.cli.main(['--version']) == 0"]
)
def test_the_command_loads_neither_torch_nor_torchaudio(tmp_path, action):
    code = f"import sys, codec, codec.cli; {action}; assert not {{'torch', 'torchaudio'}} & set(sys.modules)"
    result = with_torchaudio(tmp_path, "1.0.0", code)
    assert result.stderr == "" and ("Usage" in result.stdout) == ("help" in action)


@pytest.mark.parametrize("use", ["codec.Codec", "codec.cli.main(['info'])"])
@pytest.mark.parametrize("version", ["same", "0.13.1", "9.9.0", "other build"])
def test_a_torchaudio_for_another_torch_gets_one_line_of_advice(tmp_path, version, use):
    torch = metadata.version("torch")
    release, _, build = torch.partition("+")
    known = {"same": torch, "other build": f"{release}+{'cu130' if build != 'cu130' else 'cpu'}"}
    code = f"import sys, codec, codec.cli; {use}; assert 'torchaudio' not in sys.modules"
    lines = with_torchaudio(tmp_path, known.get(version, version), code).stderr.splitlines()
    assert len(lines) == (version != "same")
    for line in lines:
        assert f"torchaudio {known.get(version, version)} was built for another torch" in line
        assert "pip uninstall torchaudio" in line
