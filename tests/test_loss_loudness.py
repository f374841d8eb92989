"""The loudness loss hears as PESQ does: what is masked costs nothing, what is added costs most."""

import math

import numpy as np
import pytest
import torch
from conftest import make_speech
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_inputs import CONTEXT, loss_input

from codec.audio.bark import BarkPower, Loudness
from codec.audio.disturbance import over_time
from codec.errors import CodecError
from codec.train.losses.registry import LossContext, build_loss

SPEECH = torch.from_numpy(make_speech(2.0))[None]
NOISE = torch.randn(SPEECH.shape, generator=torch.Generator().manual_seed(0))
LOSS = build_loss("loudness", {}, CONTEXT)


def cost(fake: torch.Tensor, real: torch.Tensor = SPEECH) -> float:
    return LOSS(loss_input(real, fake)).item()


def test_bands_cover_the_spectrum_once():
    bands = BarkPower().bands
    assert ((bands > 0).sum(dim=1) == 1).all()
    assert bands.shape == (256, 49)


def test_a_louder_tone_has_the_power_of_its_band():
    time = torch.arange(16_000) / 16_000
    tone = 0.1 * torch.sin(2 * math.pi * 1000 * time)[None]
    power = BarkPower()
    quiet, loud = power(tone).mean(1)[0], power(2 * tone).mean(1)[0]
    # 1000 Hz lies at 8.5 Bark.
    centre = (power.widths.cumsum(0) - power.widths / 2)[quiet.argmax()]
    assert centre.item() == pytest.approx(8.5, abs=0.3)
    torch.testing.assert_close(loud, 4 * quiet)


def test_loudness_starts_at_the_threshold_of_hearing_and_grows():
    loudness = Loudness()
    powers = loudness.thresholds * torch.tensor([0.0, 0.5, 1.0, 2.0, 4.0, 1e6]).unsqueeze(1)
    heard = loudness(powers)
    assert (heard[:3] == 0).all()
    assert (heard.diff(dim=0)[2:] > 0).all()


@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 1.0))
def test_only_the_ratio_of_the_two_matters(gain):
    fake = SPEECH + 0.02 * NOISE
    assert cost(gain * fake, gain * SPEECH) == pytest.approx(cost(fake), rel=1e-3)


def test_more_noise_costs_more():
    costs = [cost(SPEECH + level * NOISE) for level in (0.0, 0.001, 0.003, 0.01, 0.03)]
    assert costs[0] == 0
    assert (np.diff(costs) > 0).all()


def test_adding_costs_more_than_leaving_out():
    assert cost(2 * SPEECH) > cost(0.5 * SPEECH)


def test_it_orders_degradations_as_pesq_does():
    pesq = pytest.importorskip("pesq").pesq
    clipped, squared = SPEECH.clamp(-0.05, 0.05), 0.1 * SPEECH.sign()
    fakes = [SPEECH + 0.001 * NOISE, SPEECH + 0.01 * NOISE, clipped, squared]
    scores = [pesq(16_000, SPEECH[0].numpy(), fake[0].numpy(), "wb") for fake in fakes]
    assert np.argsort(scores).tolist() == np.argsort([-cost(fake) for fake in fakes]).tolist()


def test_one_bad_frame_counts_more_than_its_share():
    even, uneven = torch.full((1, 40), 0.05), torch.zeros(1, 40)
    uneven[0, 20] = 2.0
    assert even.mean() == pytest.approx(uneven.mean())
    assert over_time(uneven) > over_time(even)


def test_other_sample_rates_are_refused():
    context = LossContext(sample_rate=24_000, latent_dim=8, num_codebooks=2, teacher_dims={})
    with pytest.raises(CodecError, match="16000 Hz, found 24000 Hz"):
        build_loss("loudness", {}, context)
