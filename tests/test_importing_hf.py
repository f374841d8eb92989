"""Imported models in transformers: the same codes and audio, with and without codec installed."""

import os
import subprocess
import sys

import pytest
import torch
from originals import dac, encodec, mimi, noise

pytest.importorskip("transformers")

from transformers import AutoFeatureExtractor, AutoModel

import codec
import codec.hf
from codec.importing import import_checkpoint

MAKE = {"encodec": encodec, "mimi": mimi, "dac": lambda: dac(sampling_rate=44_100, downsampling_ratios=[2, 4, 4])}
LENGTHS = (3001, 640, 1, 999)
SCRIPT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "codec":
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Blocker())
import torch
from transformers import AutoModel
for folder in sys.argv[1:]:
    model = AutoModel.from_pretrained(f"{folder}/published", trust_remote_code=True)
    output = model(**torch.load(f"{folder}/inputs.pt"))
    torch.save([output.audio_codes, output.audio_values], f"{folder}/output.pt")
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for name, make in MAKE.items():
        folder = made[name] = tmp_path_factory.mktemp(name)
        make().save_pretrained(folder / "original")
        import_checkpoint(folder / "original").model.save_pretrained(folder / "published", remote_code=True)
        extractor = AutoFeatureExtractor.from_pretrained(folder / "published")
        clips = [noise(samples, seed=samples).numpy() for samples in LENGTHS]
        inputs = extractor(raw_audio=clips, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        torch.save(dict(inputs), folder / "inputs.pt")
    return made


@pytest.mark.parametrize("name", MAKE)
def test_a_padded_batch_has_the_codes_and_audio_of_codec(folders, name):
    folder = folders[name]
    model, hf = codec.load(folder / "published", device="cpu"), AutoModel.from_pretrained(folder / "published")
    inputs = torch.load(folder / "inputs.pt")
    output = hf.encode(**inputs)
    tokens = model.encode([noise(samples, seed=samples) for samples in LENGTHS])
    assert hf.fingerprint == model.fingerprint
    assert (hf.config.sampling_rate, hf.config.frame_size) == (model.sample_rate, model.hop_length)
    assert torch.equal(output.audio_codes, tokens.codes)
    assert output.audio_codes_mask.sum(dim=1).tolist() == tokens.lengths.tolist()
    wav = hf.decode(output.audio_codes, inputs["padding_mask"]).audio_values
    assert torch.equal(wav[:, 0], model.decode(tokens))


def test_a_process_without_codec_gives_equal_codes(folders, tmp_path):
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, *map(str, folders.values())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for folder in folders.values():
        codes, wav = torch.load(folder / "output.pt")
        expected = AutoModel.from_pretrained(folder / "published")(**torch.load(folder / "inputs.pt"))
        assert torch.equal(codes, expected.audio_codes)
        torch.testing.assert_close(wav, expected.audio_values, atol=1e-6, rtol=0)
