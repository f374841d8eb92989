"""Checkpoints that cannot be read: one line each, and nothing in them runs."""

import json
import os
import pickle

import pytest
import torch
from command import run, run_ok
from originals import SPEECHTOKENIZER, dac, encodec, mimi, noise, speechtokenizer, write
from safetensors.torch import save_file

from codec.errors import CodecError
from codec.importing import import_checkpoint
from codec.model.config import config_to_json, parse_config


def refused(source, match: str, kind: str | None = None) -> None:
    with pytest.raises(CodecError, match=match) as caught:
        import_checkpoint(source, kind)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return speechtokenizer().state_dict()


def test_a_torchscript_program(tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "model.pt")
    refused(tmp_path / "model.pt", "a TorchScript program, which is code")


class Trap:
    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_does_not_run(tmp_path, monkeypatch, zipped):
    trap = tmp_path / "trap"
    monkeypatch.setenv("TRAP", str(trap))
    content = {"weight": torch.zeros(2), "more": Trap()}
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "model.pt", r"reading it would run \w+\.mkdir; only tensors are read")
    assert not trap.exists()
    pickle.loads(pickle.dumps(Trap()))
    assert trap.exists(), "the trap of this test is a dud"


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_half_a_download(tmp_path, state, suffix, share):
    path = tmp_path / f"model.{suffix}"
    torch.save(state, path) if suffix == "pt" else save_file(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "damaged, or half a download|damaged, or no file of torch.save")


@pytest.mark.parametrize(("content", "match"), [
    (b"", "damaged"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
    (b"<!DOCTYPE html><html>", "a web page"),
    (b"\x80\x02K\x01.", "damaged|no tensors"),
    (b"hello", "not a file of weights"),
    (pickle.dumps(print, 4), "a pickle that may run code"),
])
def test_what_is_no_checkpoint(tmp_path, content, match):
    (tmp_path / "model.pt").write_bytes(content)
    refused(tmp_path / "model.pt", match)


def test_folders_without_one_file_of_weights(tmp_path, state):
    refused(tmp_path / "none", "no such file or folder")
    refused(tmp_path, "no file of weights in this folder")
    for name in ("a.pt", "b.pt"):
        write(tmp_path, state, SPEECHTOKENIZER, name)
    refused(tmp_path, "holds several files of weights, a.pt, b.pt; give the path of one")


def test_of_no_known_kind(tmp_path):
    write(tmp_path, {"a.weight": torch.zeros(2)}, None)
    refused(tmp_path, r"of no known kind \(.*, speechtokenizer\); its tensors are a.weight")
    refused(tmp_path, "not a checkpoint of Mimi; it is of no other known kind either", "mimi")
    refused(tmp_path, "unknown kind of checkpoint 'sptech'", "sptech")


@pytest.mark.parametrize(("tensors", "match"), [
    ({"encoder.block.1.block.0.block.1.weight_v": (64, 1, 7), "encoder.block.1.block.0.block.1.weight_g": (64, 1, 1),
      "encoder.block.1.block.0.block.0.alpha": (1, 64, 1), "quantizer.quantizers.0.codebook.weight": (4096, 8)},
     "SNAC is not supported: each of its codebooks has a frame rate"),
    ({"semantic_adapter.conv1.weight": (2, 2, 3), "quantizer.project_in.weight": (8, 2)}, "X-codec2 is not supported"),
    ({"SemanticEncoder_module.conv1.weight": (2, 2, 3)}, "X-codec2 is not supported"),
])
def test_codecs_that_do_not_fit_are_refused_by_name(tmp_path, tensors, match):
    write(tmp_path, {name: torch.ones(shape) for name, shape in tensors.items()}, None)
    for kind in (None, "dac"):
        refused(tmp_path, match, kind)


def test_a_hub_id_says_how_to_get_the_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused("kyutai/mimi", "hf download kyutai/mimi --local-dir FOLDER")
    refused("runs/missing.pt", "no such file or folder; give a checkpoint")


def test_a_model_of_codec_is_taken_as_it_is(tmp_path, tiny_model_dir):
    refused(tiny_model_dir, "is a model of codec already; give this folder to --model")


def test_missing_superfluous_and_misshapen_tensors_are_listed(tmp_path, state):
    changed = dict(state)
    del changed["decoder.model.3.convtr.convtr.bias"]
    changed["decoder.model.99.bias"] = torch.zeros(1)
    changed["encoder.model.1.shortcut.conv.conv.bias"] = torch.zeros(9)
    write(tmp_path, changed, SPEECHTOKENIZER)
    refused(
        tmp_path,
        r"missing: decoder.model.3.convtr.convtr.bias; not expected: decoder.model.99.bias; "
        r"misshapen: encoder.model.1.shortcut.conv.conv.bias \(9,\) where \(2,\) is expected",
    )


def test_half_of_a_weight_norm(tmp_path, state):
    changed = {name: t for name, t in state.items() if name != "decoder.model.0.conv.conv.weight_g"}
    write(tmp_path, changed, SPEECHTOKENIZER)
    refused(tmp_path, "missing: decoder.model.0.conv.conv.weight; not expected: decoder.model.0.conv.conv.weight_v")


@pytest.mark.parametrize("name", ["encoder.model.0.conv.conv.weight_v", "encoder.model.3.conv.conv.weight_v"])
def test_without_a_tensor_that_decides_the_structure(tmp_path, state, name):
    write(tmp_path, {key: tensor for key, tensor in state.items() if key != name}, SPEECHTOKENIZER)
    refused(tmp_path, "is missing|of no known kind")


def test_weights_that_are_not_finite(tmp_path, state):
    write(tmp_path, state | {"encoder.model.0.conv.conv.bias": torch.tensor([0.0, torch.nan])}, SPEECHTOKENIZER)
    refused(tmp_path, "NaN or infinite weights in encoder.model.0.conv.conv.bias")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted_with_a_note(tmp_path, state, dtype):
    other = {name: tensor.to(dtype) for name, tensor in state.items()}
    result = import_checkpoint(write(tmp_path, other, SPEECHTOKENIZER))
    assert f"weights in {str(dtype)[6:]} were converted to float32" in result.notes
    assert {t.dtype for t in result.model.state_dict().values()} == {torch.float32}
    result.model.encode(noise(1, 100))


@pytest.mark.parametrize(("changes", "match"), [
    ({"strides": [8, 5, 2]}, r"strides is \[8, 5, 2\], but the tensors of SpeechTokenizer.pt show \[5, 4, 2\]"),
    ({"n_q": 8}, "n_q is 8, but"),
    ({"activation": "Snake"}, "activation is Snake, but"),
    ({"sampling_rate": 24_000}, "contradicts itself: sample_rate 16000, sampling_rate 24000"),
    ({"sample_rate": "16k"}, "sample_rate is '16k'; it must be whole Hz"),
    ({"frame_rate": 50}, "50 frames per second at 16000 Hz, but the tensors of SpeechTokenizer.pt make 400"),
])
def test_a_config_that_contradicts_the_weights(tmp_path, state, changes, match):
    refused(write(tmp_path, state, SPEECHTOKENIZER | changes), match)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_config_that_is_none(tmp_path, state, text):
    write(tmp_path, state, None)
    (tmp_path / "config.json").write_text(text)
    refused(tmp_path, "config.json: (cannot be read as JSON|expected settings)")


BAD = {
    "torchscript": (lambda path: torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(path), "TorchScript"),
    "code": (lambda path: torch.save({"weight": torch.zeros(2), "more": Trap()}, path), "would run"),
    "half": (lambda path: cut(path, speechtokenizer().state_dict()), "half a download"),
    "kind": (lambda path: torch.save(speechtokenizer().state_dict(), path), "not a checkpoint of Mimi; it is Speech"),
}


def cut(path, state) -> None:
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("case", BAD)
def test_the_command_refuses_with_one_line_and_writes_nothing(tmp_path, capfd, case, monkeypatch):
    make, match = BAD[case]
    monkeypatch.setenv("TRAP", str(tmp_path / "trap"))
    make(tmp_path / "model.pt")
    result = run(capfd, "import", tmp_path / "model.pt", tmp_path / "ours", "--kind", "mimi")
    assert result.status == 1 and match in result.error_lines[0] and len(result.error_lines) == 1
    assert not (tmp_path / "ours").exists() and not (tmp_path / "trap").exists()


def test_the_command(tmp_path, state, capfd):
    source, ours = write(tmp_path / "original", state, SPEECHTOKENIZER), tmp_path / "ours"
    first, second = run_ok(capfd, "import", source, ours).out.splitlines()
    assert first.endswith("speechtokenizer, 16000 Hz, 400 frames/s of 3 codebooks, 4.8 kbps, needs the whole recording")
    assert second.removeprefix("fingerprint ") in run_ok(capfd, "info", ours).out
    again = run(capfd, "import", source, ours)
    assert again.status == 1 and "holds a model already; pass --overwrite" in again.error_lines[0]
    run_ok(capfd, "import", source, ours, "--overwrite", "--kind", "dm-codec")
    assert json.loads((ours / "config.json").read_text())["architecture"] == "seanet"


WRONG_SETTINGS = (None, 0, -1, 2.5, "x", [], ["reflect"], {})
NOT_IN_THE_TENSORS = {
    *("dilation_base", "dilation_growth_rate", "target_bandwidths", "pad_mode", "use_causal_conv", "norm_eps"),
    *("num_attention_heads", "head_dim", "sliding_window", "rope_parameters", "sampling_rate"),
}
"""Settings whose value becomes one of ours; of the others, one wrong value has to do."""


@pytest.mark.parametrize("make", [encodec, mimi, dac], ids=lambda make: make.__name__)
def test_any_wrong_setting_of_a_config_is_one_line(tmp_path, make):
    """Each setting alone is replaced by what it can hardly be: it is of no concern, or an error before weights are read."""
    make().save_pretrained(tmp_path)
    check_settings_one_by_one(tmp_path)


def test_any_wrong_setting_of_a_speechtokenizer_is_one_line(tmp_path, state):
    check_settings_one_by_one(write(tmp_path, state, SPEECHTOKENIZER))


def check_settings_one_by_one(folder):
    path = folder / "config.json"
    config, refusals = json.loads(path.read_text()), []
    for name in config:
        for wrong in WRONG_SETTINGS if name in NOT_IN_THE_TENSORS else ("x",):
            path.write_text(json.dumps(config | {name: wrong}))
            try:
                model = import_checkpoint(folder).model
            except CodecError as error:
                refusals.append(str(error))
            else:
                # What was imported can be saved and loaded: its own config holds what it may.
                assert parse_config(config_to_json(model.config)) == model.config, (name, wrong)
    assert len(refusals) > 7 and not [line for line in refusals if "\n" in line]
