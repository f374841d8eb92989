"""The comb of the pitch: on the noise of voiced frames alone, at the pitch, with the power that noise had."""

import dataclasses
import math

import pytest
import torch
from conftest import make_tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.spectral.bands import gain_matrix
from codec.model.spectral.comb import PitchComb
from codec.model.spectral.config import SpectralConfig
from codec.model.spectral.noise import PARTS, PERIOD, DrawnNoise, drawn_normal, rise

BINS = 321
FLAT = torch.ones(1, BINS)
"""One band: the same level everywhere."""


def harmonics(spacing: int) -> torch.Tensor:
    """``(1, 1, bins)``: power at every multiple of ``spacing`` bins."""
    return (torch.arange(BINS) % spacing == 0).float().clamp(min=1e-6)[None, None]


def combed(comb: PitchComb, power: torch.Tensor, level: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Power ``(n, bins)`` of combed noise and factors ``(n, bins / 2)`` on the other, one frame for each random row."""
    levels, rows = torch.full((1, PERIOD, PARTS), level), torch.arange(PERIOD)[None]
    real, imag, kept = comb(levels, power.expand(1, PERIOD, BINS), rows)
    return (real.square() + imag.square())[0], kept[0]


@pytest.mark.parametrize("spacing", [4, 6, 8, 13])
def test_teeth_lie_at_multiples_of_the_pitch(spacing):
    power = combed(PitchComb(5.0, FLAT, 0.375), harmonics(spacing))[0].mean(0)
    place = torch.arange(BINS)
    inside = (place > 100) & (place < 300)
    teeth = power[inside & (place % spacing == 0)].mean()
    gaps = power[inside & (place % spacing == spacing // 2)].mean()
    assert teeth > 20 * gaps


def test_noise_of_flat_and_silent_frames_stays_as_it_was():
    comb = PitchComb(5.0, FLAT, 0.375)
    for level in (0.0, 1.0):
        power, kept = combed(comb, torch.full((1, 1, BINS), level))
        assert power.max() < 1e-9 and (kept == 1).all()


@settings(deadline=None, max_examples=20)
@given(spacing=st.integers(4, 15), depth=st.floats(0.1, 8.0), level=st.floats(-5.0, 2.0))
def test_power_stays(spacing, depth, level):
    power, kept = combed(PitchComb(depth, FLAT, 0.375), harmonics(spacing), level)
    share = rise(0.1875, BINS)[::2].square()
    expected = PARTS * torch.tensor(2 * level).exp() * (1 - kept.square().mean(0)) * share
    # Over many teeth and the period of the random numbers. The local mean ripples where few teeth fall into it.
    assert power.mean(0)[120:280].mean() == pytest.approx(float(expected[60:140].mean()), rel=0.3)


@settings(deadline=None, max_examples=20)
@given(gain=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_the_comb_does_not_depend_on_loudness(gain, seed):
    power = torch.randn(1, 1, BINS, generator=torch.Generator().manual_seed(seed)).exp()
    comb = PitchComb(5.0, FLAT, 0.375)
    for one, other in zip(combed(comb, power), combed(comb, gain * power), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("power", [harmonics(6), torch.ones(1, 1, BINS), torch.zeros(1, 1, BINS)])
@pytest.mark.parametrize("level", [0.0, -80.0])
def test_gradients_are_finite_where_nothing_or_all_is_combed(power, level):
    spectrum = power.sqrt().expand(1, 4, BINS).clone().requires_grad_()
    levels = torch.full((1, 4, PARTS), level, requires_grad=True)
    made = PitchComb(5.0, FLAT, 0.375)(levels, spectrum.square(), torch.arange(4)[None])
    sum(part.square().sum() for part in made).backward()
    assert spectrum.grad.isfinite().all() and levels.grad.isfinite().all()


def test_numbers_are_gaussian():
    numbers = drawn_normal(BINS)
    assert numbers.shape == (PERIOD, 2, BINS)
    assert numbers.square().sum(1).mean() == pytest.approx(1, abs=0.02)
    assert numbers.pow(4).mean() / numbers.square().mean().square() == pytest.approx(3, abs=0.1)


def test_a_frame_rounds_alike_among_any_others():
    """With 16 and more at once, as products with tables do (docs/streaming.md)."""
    bands, count = 80, 150
    comb = PitchComb(5.0, gain_matrix(bands, BINS), noise_from=0.375)
    noise = DrawnNoise(BINS - 1, gain_matrix(bands, BINS // 2 + 1))
    generator = torch.Generator().manual_seed(4)
    # As in a decoder, levels are a part of what is put out for a frame.
    output = torch.randn(count, BINS + PARTS * bands, generator=generator)
    rows = torch.arange(count) % PERIOD

    def frames(start: int, *shape: int) -> list[torch.Tensor]:
        chosen = slice(start, start + math.prod(shape))
        power, levels = output[chosen].unflatten(0, shape).split([BINS, PARTS * bands], dim=2)
        places = rows[chosen].reshape(shape)
        real, imag, kept = comb(levels, power.square(), places)
        return [part.flatten(0, 1) for part in (real, imag, kept, noise(levels, kept.unsqueeze(2), places))]

    whole = frames(0, 1, count)
    for start, shape in [(0, (1, 16)), (3, (1, 17)), (5, (7, 3)), (1, (35, 1)), (50, (2, 50)), (0, (count, 1))]:
        some = frames(start, *shape)
        for all_frames, part in zip(whole, some, strict=True):
            assert torch.equal(part, all_frames[start : start + len(part)])


def test_decoders_are_trained_without_and_heard_with():
    plain = make_tiny_model(noise_bands=6)
    with_comb = dataclasses.replace(plain.config, network=dataclasses.replace(plain.config.network, comb=5.0))
    other = Codec(with_comb).eval()
    other.load_state_dict(plain.state_dict())
    assert other.fingerprint == plain.fingerprint
    latent = torch.randn(1, 8, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # The tiny model's noise is too quiet to be heard in the difference.
        for model in (plain, other):
            model.decoder.backbone.out.bias[-model.decoder.sizes[3] :] += 3.0
        assert not torch.allclose(other.decoder(latent)[0], plain.decoder(latent)[0], atol=1e-4)
        other.train(), plain.train()
        assert torch.equal(other.decoder(latent)[0], plain.decoder(latent)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"comb": 11.0, "noise_bands": 4}, "comb 11.0 must lie between 0 and 10"),
        ({"comb": 5.0}, "comb 5.0 shapes noise; set noise_bands, too"),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(CodecError, match=message):
        SpectralConfig(**options)
