"""Drawn noise: a function of the frame's index and the frequency, at the level that is asked for."""

import hashlib
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import make_tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import CodecError
from codec.model.spectral.config import SpectralConfig
from codec.model.spectral.noise import (
    PARTS,
    PERIOD,
    DrawnNoise,
    drawn_phases,
    drawn_turns,
    fall,
    places,
    rise,
)

HOP, BINS = 320, 161


def make_noise(draw="phase") -> DrawnNoise:
    return DrawnNoise(HOP, torch.eye(BINS), draw)


def overlap_add(frames: torch.Tensor) -> torch.Tensor:
    """Frames ``(n, 2 * hop)``, a hop apart, to samples."""
    wav = torch.zeros((len(frames) + 1) * HOP)
    for number, frame in enumerate(frames):
        wav[number * HOP : (number + 2) * HOP] += frame
    return wav


def test_phases_are_the_same_everywhere():
    phases = drawn_phases(4, 9)
    assert phases.shape == (2, PARTS, 2, 9)
    rounded = (phases * 1_000).round().to(torch.int16)
    assert hashlib.sha256(rounded.numpy().tobytes()).hexdigest()[:16] == "63ed1192e17e80c4"
    torch.testing.assert_close(phases.square().sum(2), torch.ones(2, PARTS, 9))
    assert not phases[:, :, 1, [0, -1]].any()


def test_gaussian_numbers_have_the_same_phases_and_rayleigh_magnitudes():
    phases, numbers = drawn_phases(PERIOD * PARTS, 161), drawn_phases(PERIOD * PARTS, 161, "gaussian")
    torch.testing.assert_close(F.normalize(numbers, dim=2), phases, atol=1e-5, rtol=0)
    power = numbers.square().sum(2).flatten()
    # Powers of complex Gaussian numbers are distributed exponentially.
    for quantile in (0.1, 0.5, 0.9):
        expected = -math.log(1 - quantile)
        assert power.quantile(torch.tensor(quantile)).item() == pytest.approx(expected, rel=0.05, abs=0.01)


def pulse(draw: str) -> float:
    """Mean envelope of the bands of one bin: at frames' centres over where two frames meet."""
    noise = make_noise(draw)
    ratios = []
    for k in range(8, BINS - 8, 4):
        levels = torch.full((1, PERIOD, PARTS, BINS), -20.0)
        levels[..., k] = 0.0
        wav = overlap_add(noise(levels.flatten(2), torch.ones(BINS), torch.arange(PERIOD)[None])[0])
        analytic = torch.fft.ifft(torch.fft.fft(wav) * torch.linspace(0, 2, len(wav)).lt(1) * 2)
        rows = analytic.abs()[HOP : -2 * HOP].reshape(-1, HOP // 2)
        mean = rows.mean(0)
        ratios.append(float(mean.max() / mean.min()))
    return sum(ratios) / len(ratios)


def test_gaussian_noise_does_not_pulse_at_the_rate_of_its_frames():
    # Where two frames meet, two phasors of half the power each have the mean modulus 4 / (pi sqrt(2)).
    assert pulse("phase") == pytest.approx(math.pi * math.sqrt(2) / 4, abs=0.03)
    assert pulse("gaussian") == pytest.approx(1, abs=0.05)


@given(start=st.integers(0, 2 * PERIOD), frames=st.integers(2, 9), cut=st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_noise_depends_on_the_index_alone(start, frames, cut):
    cut = min(cut, frames - 1)
    noise, levels, share = make_noise(), torch.zeros(2, frames, PARTS * BINS), torch.ones(BINS)
    index = torch.tensor([[float(start)], [float(start + PERIOD)]])
    whole = noise(levels, share, places(index, frames))
    assert torch.equal(whole[0], whole[1])
    first = noise(levels[:, :cut], share, places(index, cut))
    second = noise(levels[:, cut:], share, places(index + cut, frames - cut))
    assert torch.equal(torch.cat([first, second], dim=1), whole)


def test_amplitudes_come_out_as_power():
    levels = torch.full((1, PERIOD, PARTS * BINS), 0.5)
    wav = overlap_add(make_noise()(levels, torch.ones(BINS), torch.arange(PERIOD)[None])[0])[HOP:-HOP]
    # A spectrum of modulus A over H frequencies is noise of variance A^2 / H, and the windows add up to one.
    expected = torch.tensor(0.5).exp().square() / HOP
    for part in wav.split(len(wav) // 4):
        assert part.square().mean() == pytest.approx(float(expected), rel=0.1)


def test_noise_reaches_the_sound_above_its_crossover_alone():
    model = make_tiny_model(noise_bands=6, noise_from=0.5)
    decoder, sizes = model.decoder, model.decoder.sizes
    with torch.no_grad():
        decoder.backbone.out.weight.zero_()
        decoder.backbone.out.bias.zero_()
        decoder.backbone.out.bias[: 2 * sizes[0]].normal_(generator=torch.Generator().manual_seed(0))
    both = decoder(torch.zeros(1, 8, 200))[0][0, HOP:]
    with torch.no_grad():
        decoder.backbone.out.bias[-sizes[3] :] = -30.0
    harmonics = decoder(torch.zeros(1, 8, 200))[0][0, HOP:]
    noise = torch.fft.rfft(both - harmonics).abs().square()
    kept = torch.fft.rfft(harmonics).abs().square()
    # Noise from half an octave below half the crossover on, nothing else half an octave above it.
    assert noise[: len(noise) // 8].sum() < 1e-3 * noise.sum()
    assert kept[int(len(kept) * 0.72) :].sum() < 1e-3 * kept.sum()
    assert noise.sum() > 0


def test_levels_of_noise_are_taught():
    model = make_tiny_model(noise_bands=6)
    model.decoder.requires_grad_(True)
    model.decoder(torch.randn(1, 8, 6))[0].square().sum().backward()
    grad = model.decoder.backbone.out.weight.grad
    assert grad[-model.decoder.sizes[3] :].abs().sum() > 0


@pytest.mark.parametrize("octaves", [1.0, 0.25])
def test_parts_keep_the_power(octaves):
    above, below = rise(0.375, 321, octaves), fall(0.375, 321, octaves)
    torch.testing.assert_close(above.square() + below.square(), torch.ones(321))
    assert below[0] == 1 and below[-1] == 0
    torch.testing.assert_close(above[120], torch.tensor(0.5).sqrt(), atol=1e-3, rtol=0)
    fading = ((above > 0) & (above < 1)).nonzero().flatten()
    assert math.log2(int(fading[-1]) / int(fading[0])) == pytest.approx(octaves, abs=0.03)


def test_crops_begin_anywhere_in_the_table_and_a_step_repeats():
    decoder = make_tiny_model(noise_bands=6).decoder
    crops = torch.randn(32, 640, generator=torch.Generator().manual_seed(1))
    places = decoder.crop_start(crops).noise_index
    assert torch.equal(places, decoder.crop_start(crops).noise_index)
    assert places.min() >= 0 and places.max() < PERIOD and len(places.unique()) > 16
    assert torch.equal(places, places.floor())
    latent = torch.zeros(32, 8, 5)
    # At an index of 0 the start is that of silence.
    first = decoder.crop_start(torch.zeros(32, 640))
    assert torch.equal(decoder(latent, first)[0], decoder(latent)[0])
    assert not torch.equal(decoder(latent, decoder.crop_start(crops))[0], decoder(latent)[0])


def test_turns_are_the_same_everywhere_and_keep_the_power():
    turns = drawn_turns(321, 0.25, 0.25)
    assert turns.shape == (PERIOD, 2, 321)
    rounded = (turns * 1_000).round().to(torch.int16)
    assert hashlib.sha256(rounded.numpy().tobytes()).hexdigest()[:16] == "236a91bd23bf1bee"
    below, above = turns[..., :60], turns[..., 100:]
    assert (below[:, 0] == 1).all() and not below[:, 1].any()
    torch.testing.assert_close(above.square().sum(1), torch.ones(PERIOD, 221))
    torch.testing.assert_close(turns.square().sum(1).mean(0), torch.ones(321), atol=0.3, rtol=0)
    # Neither frames nor frequencies share a phase.
    assert abs(turns[1:, :, 100:].mul(turns[:-1, :, 100:]).sum(1).mean()) < 0.02
    assert abs(above.mean()) < 0.02


def template_decoder(**options):
    """A decoder that gives the same spectrum in every frame, as networks do where tokens say nothing of phases."""
    decoder = make_tiny_model(**options).decoder
    with torch.no_grad():
        decoder.backbone.out.weight.zero_()
        decoder.backbone.out.bias.zero_()
        decoder.backbone.out.bias[: 2 * decoder.sizes[0]].normal_(generator=torch.Generator().manual_seed(0))
    return decoder


def test_drawn_phases_end_the_repetition_of_frames_above_their_frequency_alone():
    latent = torch.zeros(1, 8, 2 * PERIOD)
    fixed = template_decoder()(latent)[0][0, HOP:].detach()
    drawn = template_decoder(phase_from=0.25)(latent)[0][0, HOP:].detach()

    def repetition(wav: torch.Tensor, low: float, high: float) -> float:
        """Correlation of a band with itself a frame later."""
        spectrum = torch.fft.rfft(wav)
        place = torch.linspace(0, 1, len(spectrum))
        band = torch.fft.irfft(spectrum * ((place > low) & (place < high)), n=len(wav))
        return float((band[HOP:] * band[:-HOP]).sum() / band.square().sum())

    for low, high in ((0.05, 0.2), (0.3, 0.9)):
        assert repetition(fixed, low, high) > 0.9
    assert repetition(drawn, 0.05, 0.2) > 0.9
    assert abs(repetition(drawn, 0.3, 0.9)) < 0.3
    period, part = PERIOD * HOP, slice(HOP, 20 * HOP)
    torch.testing.assert_close(drawn[part], drawn[period:][part], atol=1e-4, rtol=0)


def test_drawn_phases_leave_tokens_alone():
    plain, drawn = make_tiny_model(), make_tiny_model(phase_from=0.25)
    drawn.load_state_dict(plain.state_dict())
    assert drawn.fingerprint == plain.fingerprint


def test_without_noise_nothing_changed_and_with_it_codes_mean_the_same():
    plain, noisy = make_tiny_model(), make_tiny_model(noise_bands=6)
    assert plain.decoder.noise is None
    wav = 0.1 * torch.randn(1, 4_000)
    noisy.encoder.load_state_dict(plain.encoder.state_dict())
    noisy.quantizer.load_state_dict(plain.quantizer.state_dict())
    assert noisy.fingerprint == plain.fingerprint
    assert torch.equal(noisy.encode(wav).codes, plain.encode(wav).codes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_bands": 1}, "noise_bands 1 must be 0, or 2 or more"),
        ({"noise_fade": 0.0}, "noise_fade 0.0 must lie above 0"),
        ({"phase_from": 1.0}, "phase_from 1.0 must lie between 0 and 1, or be 0"),
        ({"phase_fade": 0.0}, "phase_fade 0.0 must lie above 0"),
        ({"noise_from": 1.0}, "noise_from 1.0 must lie between 0 and 1"),
        ({"semantic_layers": 1, "semantic_dim": 64}, "semantic_dim 64 must lie between 0 and latent_dim 64"),
        ({"semantic_layers": 1, "semantic_dim": 8, "semantic_from": 7}, "semantic_from 7 at most encoder_layers 6"),
        ({"level_bands": 81}, "level_bands 81 must be 0, or 2 to 80"),
        ({"semantic_layers": -1}, "semantic_layers -1 must be 0 or more"),
        ({"noise_bands": 4, "hop_length": 322, "window_length": 644}, "must be a multiple of 4"),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(CodecError, match=message):
        SpectralConfig(**options)
