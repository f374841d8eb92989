"""Values and gradients of waveform, mel and stft losses."""

import math

import librosa
import numpy as np
import pytest
import torch
from conftest import make_speech
from loss_inputs import CONTEXT, loss_input

from codec.audio.mel import mel_filterbank
from codec.errors import CodecError
from codec.train.losses.mel import MelLoss
from codec.train.losses.registry import build_loss

RECONSTRUCTION = ["waveform", "mel", "stft", "loudness"]
PAPER_MEL = {
    "n_fft": [1024, 512, 256, 128],
    "hop_length": [240, 120, 60, 30],
    "num_mels": [80, 80, 80, 80],
    "mel_scale": "htk",
    "scale_weights": [45, 1, 1, 1],
}


def two_clips() -> tuple[torch.Tensor, torch.Tensor]:
    real = torch.from_numpy(np.stack([make_speech(0.24, seed=s) for s in (0, 1)]))
    fake = torch.from_numpy(np.stack([make_speech(0.24, seed=s) for s in (2, 3)]))
    return real, 0.7 * fake


def test_waveform_value():
    real = torch.tensor([[0.5, -0.5, 0.0, 1.0]])
    value = build_loss("waveform", {}, CONTEXT)(loss_input(real, torch.tensor([[0.0, 0.5, 0.0, 0.5]])))
    assert value.item() == pytest.approx(0.5)  # (0.5 + 1 + 0 + 0.5) / 4


def test_mel_of_twice_the_signal_is_log_two():
    noise = torch.randn(1, 3840, generator=torch.Generator().manual_seed(0))
    value = build_loss("mel", {}, CONTEXT)(loss_input(noise, 2 * noise))
    assert value.item() == pytest.approx(math.log(2), rel=1e-4)


def test_mel_of_the_paper_weighs_its_scales():
    """Empty bands (2 of 80 at 256 points, 13 at 128) say nothing; the others say log 2."""
    noise = torch.randn(1, 3840, generator=torch.Generator().manual_seed(0))
    value = build_loss("mel", PAPER_MEL, CONTEXT)(loss_input(noise, 2 * noise))
    assert value.item() == pytest.approx(math.log(2) * (45 + 1 + 78 / 80 + 67 / 80), rel=1e-4)


def test_mel_value_by_librosa():
    real, fake = two_clips()
    expected = 0.0
    for n_fft, num_mels, weight in ((256, 20, 0.25), (1024, 60, 2.0)):
        filters = librosa.filters.mel(sr=16_000, n_fft=n_fft, n_mels=num_mels)
        pad = (n_fft - n_fft // 4) // 2
        logs = []
        for wav in (real.numpy(), fake.numpy()):
            padded = np.pad(wav, ((0, 0), (pad, pad)), mode="reflect")
            stft = librosa.stft(padded, n_fft=n_fft, hop_length=n_fft // 4, center=False)
            logs.append(np.log(np.maximum(filters @ np.abs(stft), 1e-5)))
        expected += weight * np.abs(logs[0] - logs[1]).mean()
    options = {"n_fft": [256, 1024], "num_mels": [20, 60], "scale_weights": [0.25, 2.0]}
    value = build_loss("mel", options, CONTEXT)(loss_input(real, fake))
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_mel_scales_have_no_empty_bands():
    config = MelLoss.Config()
    for n_fft, num_mels in zip(config.n_fft, config.num_mels, strict=True):
        assert (mel_filterbank(16_000, n_fft, num_mels).sum(dim=1) > 0).all()


@pytest.mark.parametrize("distance, power", [("l1", 1), ("l2", 2)])
def test_stft_value_by_librosa(distance, power):
    real, fake = two_clips()
    expected = 0.0
    for n_fft in (256, 512):
        pad, energy = (n_fft - n_fft // 4) // 2, np.sqrt(3 / 8 * n_fft)  # of a periodic Hann window
        compressed = []
        for wav in (real.numpy(), fake.numpy()):
            padded = np.pad(wav, ((0, 0), (pad, pad)), mode="reflect")
            stft = librosa.stft(padded, n_fft=n_fft, hop_length=n_fft // 4, center=False) / energy
            magnitude = np.sqrt(np.abs(stft) ** 2 + 1e-8)
            compressed.append((stft * magnitude**-0.7, magnitude**0.3))
        (x, x_mag), (y, y_mag) = compressed
        parts = np.abs((x - y).real) ** power, np.abs((x - y).imag) ** power
        expected += (3.0 * np.mean(parts) + 0.5 * np.mean(np.abs(x_mag - y_mag) ** power)) / 2
    options = {"n_fft": [256, 512], "distance": distance, "complex_weight": 3.0, "magnitude_weight": 0.5}
    value = build_loss("stft", options, CONTEXT)(loss_input(real, fake))
    assert value.item() == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("name", RECONSTRUCTION)
def test_equal_signals_cost_nothing(name):
    real, _ = two_clips()
    assert build_loss(name, {}, CONTEXT)(loss_input(real, real.clone())).item() == 0.0


@pytest.mark.parametrize("name", RECONSTRUCTION)
@pytest.mark.parametrize("real_is_silent", [True, False])
def test_gradients_are_finite_in_digital_silence(name, real_is_silent):
    speech, _ = two_clips()
    real = torch.zeros_like(speech) if real_is_silent else speech
    fake = torch.zeros_like(speech).requires_grad_()
    build_loss(name, {}, CONTEXT)(loss_input(real, fake)).backward()
    assert torch.isfinite(fake.grad).all()


@pytest.mark.parametrize("name", RECONSTRUCTION)
def test_gradient_reaches_every_sample(name):
    real, fake = two_clips()
    fake.requires_grad_()
    build_loss(name, {}, CONTEXT)(loss_input(real, fake)).backward()
    assert (fake.grad != 0).all()


@pytest.mark.parametrize("name", RECONSTRUCTION)
def test_autocast_leaves_the_value_in_float32(name):
    real, fake = two_clips()
    term = build_loss(name, {}, CONTEXT)
    expected = term(loss_input(real, fake))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = term(loss_input(real, fake))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)


def test_unequal_lists_are_refused():
    with pytest.raises(CodecError, match="differ in length"):
        build_loss("mel", {"n_fft": [512]}, CONTEXT)
    with pytest.raises(CodecError, match="exponent"):
        build_loss("stft", {"exponent": 0.0}, CONTEXT)
    with pytest.raises(CodecError, match="unknown loss 'mell'; did you mean 'mel'. known: .*mel"):
        build_loss("mell", {}, CONTEXT)
