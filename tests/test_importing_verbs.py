"""Every command takes imported models: files, streams and the server, at their own sample rates."""

import asyncio
import json

import numpy as np
import pytest
import soundfile
import torch
from command import run, run_ok
from originals import dac, encodec, mimi, noise, speechtokenizer

pytest.importorskip("websockets", reason="needs the package websockets")

from serve_client import stream, with_server

import codec
from codec.data.manifest import Clip
from codec.eval.systems.ours import model_systems
from codec.importing import import_checkpoint


def speechtokenizer_folder(folder):
    from originals import SPEECHTOKENIZER, write

    write(folder, speechtokenizer().state_dict(), SPEECHTOKENIZER)


MODELS = {
    "speechtokenizer": (speechtokenizer_folder, 16_000),
    "encodec": (lambda folder: encodec().save_pretrained(folder), 24_000),
    "mimi": (lambda folder: mimi().save_pretrained(folder), 24_000),
    "dac": (lambda folder: dac(sampling_rate=44_100).save_pretrained(folder), 44_100),
}
STREAMING = ["encodec", "mimi"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for name, (save, _) in MODELS.items():
        folder = tmp_path_factory.mktemp(name)
        save(folder / "original")
        codec.save(import_checkpoint(folder / "original", name).model, folder / "ours")
        made[name] = folder / "ours"
    return made


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("suffix", ["pt", "rvq"])
def test_files(folders, tmp_path, capfd, name, suffix):
    rate = MODELS[name][1]
    wav = noise(3333).numpy()
    soundfile.write(tmp_path / "in.wav", wav, rate, subtype="FLOAT")
    tokens, out = tmp_path / f"t.{suffix}", tmp_path / "out.wav"
    run_ok(capfd, "encode", tmp_path / "in.wav", tokens, "-m", folders[name])
    run_ok(capfd, "decode", tokens, out, "-m", folders[name])
    model = codec.load(folders[name], device="cpu")
    expected = model.encode(torch.from_numpy(wav))
    assert torch.equal(codec.load_tokens(tokens).codes, expected.codes)
    sound, written_rate = soundfile.read(out, dtype="float32")
    assert written_rate == rate
    np.testing.assert_allclose(sound, model.decode(expected)[0].numpy(), atol=1 / 32_000)


@pytest.mark.parametrize("name", MODELS)
def test_live_streams_have_the_codes_of_files(folders, tmp_path, capfd, name, monkeypatch):
    wav = (noise(3333) * 32_767).to(torch.int16)
    (tmp_path / "in.raw").write_bytes(wav.numpy().tobytes())
    encoded = piped(monkeypatch, tmp_path, capfd, "in.raw", "t.rvqs", "encode", "-m", folders[name])
    if name not in STREAMING:
        assert "this model needs the whole recording and cannot stream" in encoded.error_lines[0]
        return
    assert encoded.status == 0, encoded.err
    assert piped(monkeypatch, tmp_path, capfd, "t.rvqs", "out.raw", "decode", "-m", folders[name]).status == 0
    model = codec.load(folders[name], device="cpu")
    expected = model.decode(model.encode(wav))[0].numpy()
    sound = np.frombuffer((tmp_path / "out.raw").read_bytes(), "<i2") / 32_768
    assert len(sound) == len(wav)
    np.testing.assert_allclose(sound, expected, atol=1 / 32_000)


def piped(monkeypatch, folder, capfd, source, target, *arguments):
    """``codec stream`` with files as standard input and output."""
    import codec.cli.stream as verb

    with (folder / source).open("rb") as source_file, (folder / target).open("wb") as target_file:
        monkeypatch.setattr(verb, "standard_input", lambda: source_file)
        monkeypatch.setattr(verb, "standard_output", lambda: target_file)
        return run(capfd, "stream", *arguments)


@pytest.mark.parametrize("name", STREAMING)
def test_the_server(folders, name):
    model = codec.load(folders[name], device="cpu")
    lengths = (3333, 1, 130, 40 * 7, 2000)

    async def test(server):
        for mode in ("both", "encode"):
            clips = [(noise(n, seed=n) * 32_767).short().numpy() for n in lengths]
            jobs = [stream(server, pcm, [97, 320], 0.001, mode=mode) for pcm in clips]
            for pcm, result in zip(clips, await asyncio.gather(*jobs), strict=True):
                tokens = model.encode(torch.from_numpy(pcm))
                assert np.array_equal(result.codes, tokens.codes[0].numpy())
                assert result.ended["num_samples"] == len(pcm)
                if mode == "both":
                    expected = np.minimum(model.decode(tokens)[0].numpy() * 32_768, 32_767)
                    assert np.abs(result.wav - expected).max() <= 0.6

    with_server(model, test, max_clients=3 + len(lengths))


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(STREAMING)))
def test_the_server_says_that_a_model_cannot_stream(folders, capfd, name):
    result = run(capfd, "serve", "-m", folders[name], "--port", 0)
    assert result.status == 1 and "needs the whole recording and cannot stream" in result.error_lines[0]


@pytest.mark.parametrize("name", MODELS)
def test_an_evaluation_takes_the_models_rate(folders, name):
    (system,) = model_systems([str(folders[name])], None)
    wav = noise(3333).numpy()
    coded = system.code(Clip("clip", "clip.wav", 1.0), wav)
    assert coded.sample_rate == system.sample_rate == MODELS[name][1]
    assert len(coded.wav) == len(wav)


@pytest.mark.parametrize("name", ["encodec", "dac"])
def test_a_corpus_of_tokens_has_the_models_rate(folders, tmp_path, capfd, name):
    rate = MODELS[name][1]
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a.wav", noise(3333).numpy(), rate, subtype="FLOAT")
    run_ok(capfd, "tokenize", tmp_path / "audio", tmp_path / "tokens", "-m", folders[name])
    plan = json.loads((tmp_path / "tokens" / "plan.json").read_text())
    assert rate in _numbers(plan), plan


def _numbers(value):
    """All numbers in plain data."""
    if isinstance(value, dict | list):
        return [number for part in (value.values() if isinstance(value, dict) else value) for number in _numbers(part)]
    return [value] if isinstance(value, int | float) else []
