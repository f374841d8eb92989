"""Spectral contrast: peaks over valleys, the energy of the frame as it was, nothing else."""

import dataclasses

import pytest
import torch
from conftest import make_tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.spectral.config import SpectralConfig
from codec.model.spectral.contrast import BEGIN, FULL, REACH, SpectralContrast

BINS = 161
NOISY = {"noise_bands": 6, "noise_from": 0.375, "noise_draw": "gaussian"}


def spectrum(seed: int, scale: float) -> torch.Tensor:
    return scale * torch.randn(2, 3, BINS, generator=torch.Generator().manual_seed(seed)).exp()


@settings(deadline=None, max_examples=25)
@given(strength=st.floats(0.05, 1.0), seed=st.integers(0, 99), exponent=st.integers(-7, 4))
def test_energy_that_is_heard_stays(strength, seed, exponent):
    share = torch.linspace(1, 0, BINS)
    power = spectrum(seed, 10.0**exponent)
    factor = SpectralContrast(strength, share)(power)
    heard = power * share.square()
    torch.testing.assert_close((heard * factor.square()).sum(-1), heard.sum(-1), rtol=1e-4, atol=0)


@settings(deadline=None, max_examples=25)
@given(strength=st.floats(0.05, 1.0), gain=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_factors_do_not_depend_on_loudness(strength, gain, seed):
    contrast = SpectralContrast(strength, torch.ones(BINS))
    power = spectrum(seed, 1.0)
    torch.testing.assert_close(contrast(gain * power), contrast(power), rtol=1e-4, atol=0)


def test_flat_spectra_and_silence_stay():
    contrast = SpectralContrast(0.5, torch.ones(BINS))
    for level in (0.0, 1.0):
        power = torch.full((1, 1, BINS), level)
        torch.testing.assert_close(contrast(power), torch.ones(1, 1, BINS))


def test_a_peak_is_raised_over_its_surroundings_by_the_strength():
    half = round(REACH * (BINS - 1))
    window = torch.hann_window(2 * half + 3, periodic=False)[1:-1]
    power = torch.ones(1, 1, BINS)
    power[..., 80] = 100.0
    factor = SpectralContrast(0.5, torch.ones(BINS))(power)[0, 0]
    assert FULL * (BINS - 1) + half < 80
    # At the lower end nothing changes but the energy of all, which the factor there gives away.
    for place in (80, 85):
        mean = 1 + 99 * window[half + place - 80] / window.sum()
        expected = (power[0, 0, place] / mean) ** 0.25
        assert (factor[place] / factor[0]).item() == pytest.approx(expected.item(), rel=1e-4)


def with_contrast() -> tuple[Codec, Codec]:
    """Two models of the same weights, the second with contrast."""
    plain = make_tiny_model(**NOISY)
    network = dataclasses.replace(plain.config.network, contrast=0.3)
    other = Codec(dataclasses.replace(plain.config, network=network)).eval()
    other.load_state_dict(plain.state_dict())
    return plain, other


def test_low_frequencies_keep_their_shape():
    power = spectrum(0, 1.0)
    factor = SpectralContrast(0.7, torch.ones(BINS))(power)
    low = factor[..., : int(BEGIN * (BINS - 1)) + 1]
    torch.testing.assert_close(low, low[..., :1].expand_as(low))
    assert not torch.allclose(factor, factor[..., :1].expand_as(factor))


def test_decoders_are_trained_without_and_heard_with():
    plain, other = with_contrast()
    latent = torch.randn(1, plain.config.network.latent_dim, 12, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(plain.decoder(latent)[0], other.decoder(latent)[0])
    assert torch.equal(plain.train().decoder(latent)[0], other.train().decoder(latent)[0])


def test_tokens_are_those_of_the_model_without():
    plain, other = with_contrast()
    assert plain.fingerprint == other.fingerprint


@settings(deadline=None, max_examples=10)
@given(cuts=st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_frames_in_pieces_are_the_frames_at_once(cuts):
    _, model = with_contrast()
    latent = torch.randn(1, model.config.network.latent_dim, sum(cuts), generator=torch.Generator().manual_seed(1))
    whole, state, parts = model.decoder(latent)[0], None, []
    for piece in latent.split(cuts, dim=2):
        wav, state = model.decoder(piece, state)
        parts.append(wav)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrast": 1.5}, "contrast 1.5 must lie between 0 and 1"),
        ({"contrast": -0.1}, "contrast -0.1 must lie between 0 and 1"),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(CodecError, match=message):
        SpectralConfig(**options)
