"""The shipped model's codes and audio stay what they are: code may change, what it computes may not.

``golden.json`` holds, for each clip, the SHA-256 of the codes (int64, layer by layer) and the energy of each
100 ms of the decoded audio. Codes are compared to the bit. Audio is compared by its energies, since processors
round its last bits in different ways. ``python tests/test_golden.py`` writes the file again.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import codec

GOLDEN = Path(__file__).with_name("golden.json")
SPEECH = Path(codec.__file__).parent / "assets" / "speech.flac"
DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
EVAL_CLIPS = 10


def eval_clips() -> list[Path]:
    lines = (DATA / "eval.jsonl").read_text(encoding="utf-8").splitlines()[:EVAL_CLIPS]
    return [DATA / json.loads(line)["path"] for line in lines]


def measure(model: codec.Codec, path: Path) -> dict:
    """Hash of a clip's codes, and energies of its decoded audio."""
    audio = codec.load_audio(path)
    tokens = model.encode(audio.wav, audio.sample_rate)
    wav = model.decode(tokens)[0].double()
    step = model.sample_rate // 10
    energies = [float(f"{part.square().sum():.9g}") for part in wav.split(step)]
    codes = tokens.codes.numpy().astype("<i8")
    return {"codes": hashlib.sha256(codes.tobytes()).hexdigest(), "energies": energies}


@pytest.fixture(scope="module")
def model() -> codec.Codec:
    return codec.load(device="cpu")


def check(model: codec.Codec, path: Path) -> None:
    expected, found = json.loads(GOLDEN.read_text())[path.name], measure(model, path)
    assert found["codes"] == expected["codes"]
    np.testing.assert_allclose(found["energies"], expected["energies"], rtol=1e-5, atol=1e-8)


def test_bundled_clip(model):
    check(model, SPEECH)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize("index", range(EVAL_CLIPS))
def test_eval_clip(model, index):
    check(model, eval_clips()[index])


if __name__ == "__main__":
    torch.set_num_threads(1)
    shipped = codec.load(device="cpu")
    found = {path.name: measure(shipped, path) for path in [SPEECH, *eval_clips()]}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
