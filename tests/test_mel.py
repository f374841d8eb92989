"""Mel filterbanks and spectrograms against librosa and closed forms."""

import librosa
import numpy as np
import pytest
import torch
from conftest import make_speech

from codec.audio.mel import MelSpectrogram, hz_to_mel, mel_filterbank, mel_to_hz
from codec.audio.spectrum import RealFFT, Spectrum, power_compress
from codec.errors import CodecError


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("slaney_norm", [True, False])
@pytest.mark.parametrize(
    "rate, n_fft, num_mels, fmin, fmax",
    [(16_000, 1024, 80, 0.0, None), (24_000, 512, 40, 50.0, 7600.0), (16_000, 128, 80, 0.0, 8000.0)],
)
@pytest.mark.filterwarnings("ignore:Empty filters")
def test_filterbank_is_librosas(scale, slaney_norm, rate, n_fft, num_mels, fmin, fmax):
    ours = mel_filterbank(rate, n_fft, num_mels, fmin, fmax, scale, slaney_norm)
    theirs = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=num_mels, fmin=fmin, fmax=fmax,
        htk=scale == "htk", norm="slaney" if slaney_norm else None,
    )  # fmt: skip
    np.testing.assert_allclose(ours, theirs, atol=1e-7, rtol=1e-5)


def test_mel_scales_at_known_points():
    assert hz_to_mel(np.array(1000.0), "slaney") == pytest.approx(15.0)
    assert hz_to_mel(np.array(6400.0), "slaney") == pytest.approx(42.0)
    assert hz_to_mel(np.array(700.0), "htk") == pytest.approx(2595 * 0.30103, rel=1e-6)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_scale_inverts(scale):
    hz = np.linspace(0, 12_000, 101)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz, atol=1e-8)


def test_edges_outside_the_spectrum_are_refused():
    with pytest.raises(CodecError, match="fmax"):
        mel_filterbank(16_000, 512, 40, fmax=9000.0)


def test_spectrogram_is_librosas():
    wav = make_speech(0.5)
    ours = MelSpectrogram(16_000, 512, 128, 40)(torch.from_numpy(wav)[None])[0]
    padded = np.pad(wav, 192, mode="reflect")
    stft = librosa.stft(padded, n_fft=512, hop_length=128, center=False)
    theirs = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=40) @ np.abs(stft)
    assert ours.shape == (8000 // 128, 40)
    np.testing.assert_allclose(ours, theirs.T, atol=1e-5, rtol=1e-4)


def test_spectrogram_has_a_frame_per_hop_and_no_saved_buffers():
    spectrogram = MelSpectrogram(16_000, 512, 128, 40)
    assert spectrogram(torch.zeros(2, 1280)).shape == (2, 10, 40)
    assert not spectrogram.state_dict()


def test_normalised_noise_has_unit_power_at_every_size():
    noise = torch.randn(1, 64_000, generator=torch.Generator().manual_seed(0))
    for n_fft in (128, 1024):
        power = Spectrum(n_fft, n_fft // 4, normalized=True)(noise).abs().square().mean()
        assert power == pytest.approx(1.0, abs=0.03)


def test_short_clip_is_refused():
    with pytest.raises(ValueError, match="at least 512 samples, got \\(1, 100\\)"):
        Spectrum(512, 128)(torch.zeros(1, 100))


@pytest.mark.parametrize("length", [8, 9])
def test_transform_has_torchs_value_and_gradient(length):
    frames = torch.randn(3, length, dtype=torch.float64, requires_grad=True)
    assert torch.equal(RealFFT.apply(frames), torch.fft.rfft(frames))
    pull = torch.randn(3, length // 2 + 1, dtype=torch.complex128)
    gradients = [
        torch.autograd.grad((fft(frames) * pull).abs().square().sum() + fft(frames).imag.sum(), frames)[0]
        for fft in (RealFFT.apply, torch.fft.rfft)
    ]
    torch.testing.assert_close(*gradients)


def test_compression_keeps_phase_and_bends_magnitude():
    spectrum = torch.tensor([3 + 4j, -16j])
    compressed = power_compress(spectrum, exponent=0.5, floor=0.0)
    torch.testing.assert_close(compressed.magnitude, torch.tensor([5**0.5, 4.0]))
    torch.testing.assert_close(compressed.real, torch.tensor([0.6 * 5**0.5, 0.0]))
    torch.testing.assert_close(compressed.imag, torch.tensor([0.8 * 5**0.5, -4.0]))
