"""Discriminators: sizes, shapes, and where gradients go."""

import itertools

import pytest
import torch

from codec.discriminators.container import Discriminators
from codec.discriminators.msd import MultiScaleDiscriminator
from codec.discriminators.objectives import CHANCE, discriminator_terms, gradient_penalties, reduce
from codec.discriminators.registry import build_discriminator
from codec.errors import CodecError

TINY = {
    "mpd": {"periods": [2, 3], "channels": [4, 8, 8]},
    "msd": {"scales": 2, "channels": [16] * 7},
    "msstft": {"n_fft": [128, 256], "filters": 4},
    "multiband": {"n_fft": [128, 256], "width": 8},
}
COUNTS = {"mpd": 2, "msd": 2, "msstft": 2, "multiband": 6}


@pytest.mark.parametrize(
    "name, count, parameters",
    [("mpd", 5, 41_105_770), ("msd", 3, 29_618_821), ("msstft", 5, 472_330)],
)
def test_default_sizes_are_those_of_the_paper(name, count, parameters):
    with torch.device("meta"):
        module = build_discriminator(name, {})
        opinions = module(torch.zeros(1, 4096))
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert len(opinions) == count


@pytest.mark.parametrize("name, maps", [("mpd", 6), ("msd", 8), ("msstft", 5), ("multiband", 4)])
def test_feature_maps_per_sub_discriminator(name, maps):
    """As in the reference: MPD and MSD count the logits among the maps, MS-STFT does not."""
    with torch.device("meta"):
        opinions = build_discriminator(name, {})(torch.zeros(1, 4096))
    assert {len(opinion.features) for opinion in opinions} == {maps}
    has_logits = {opinion.features[-1] is opinion.logits for opinion in opinions}
    assert has_logits == {name in ("mpd", "msd")}


def test_shapes_of_the_period_discriminator():
    opinions = build_discriminator("mpd", {})
    with torch.device("meta"):
        first = build_discriminator("mpd", {"periods": [7]})(torch.zeros(2, 4095))[0]
    assert opinions.periods == (2, 3, 5, 7, 11)
    # ceil(4095 / 7) = 585 rows, then thirds: 195, 65, 22, 8, and one layer of stride 1.
    expected = [(2, 32, 195, 7), (2, 128, 65, 7), (2, 512, 22, 7), (2, 1024, 8, 7), (2, 1024, 8, 7)]
    assert [tuple(f.shape) for f in first.features[:-1]] == expected
    assert first.logits.shape == (2, 1, 8, 7)


def test_first_scale_is_spectrally_normed_and_the_others_weight_normed():
    module = MultiScaleDiscriminator(MultiScaleDiscriminator.Config(scales=3, channels=(16,) * 7))
    kinds = [type(stack.layers[0].parametrizations.weight[0]).__name__ for stack in module.stacks]
    assert kinds == ["_SpectralNorm", "_WeightNorm", "_WeightNorm"]


@pytest.mark.parametrize("name", TINY)
def test_items_of_a_batch_are_judged_alone(name):
    torch.manual_seed(0)
    module = build_discriminator(name, TINY[name]).eval()
    wav = 0.1 * torch.randn(3, 640)
    opinions, alone = module(wav), module(wav[1:2])
    assert len(opinions) == COUNTS[name]
    for together, single in zip(opinions, alone, strict=True):
        torch.testing.assert_close(together.logits[1:2], single.logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_learns(name):
    torch.manual_seed(0)
    # Hinge gradients of the last bias cancel between real and fake while all logits are small.
    discriminators = Discriminators({name: TINY[name]}, kind="lsgan")
    discriminators(0.1 * torch.randn(2, 640), 0.1 * torch.randn(2, 640)).backward()
    assert all((p.grad != 0).any() for p in discriminators.parameters())


def test_loss_is_that_of_real_and_fake_logits():
    torch.manual_seed(0)
    real, fake = 0.1 * torch.randn(2, 2, 640)
    for kind in CHANCE:
        discriminators = Discriminators(TINY, kind=kind).eval()
        logits = [[opinion.logits for opinion in discriminators.opinions(wav)] for wav in (real, fake)]
        expected = reduce(discriminator_terms(*logits, kind), "mean")
        torch.testing.assert_close(discriminators(real, fake), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_discriminators_step_sends_nothing_to_the_generator(penalty):
    fake = (0.1 * torch.randn(2, 640)).requires_grad_()
    Discriminators({"multiband": TINY["multiband"]}, penalty=penalty)(0.1 * torch.randn(2, 640), fake).backward()
    assert fake.grad is None


@pytest.mark.parametrize("name", TINY)
def test_a_gradient_penalty_is_half_of_that_of_both_sides_and_teaches(name):
    torch.manual_seed(0)
    real, fake = 0.1 * torch.randn(2, 2, 640)
    discriminators = Discriminators({name: TINY[name]}, "relativistic").eval()
    plain = discriminators(real, fake)
    slopes = []
    for wav in (real, fake):
        heard = wav.clone().requires_grad_()
        slopes += gradient_penalties([opinion.logits for opinion in discriminators.opinions(heard)], heard)
    discriminators.penalty = 0.5
    loss = discriminators(real, fake)
    expected = plain + 0.5 * torch.stack(slopes).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    (loss - plain).backward()
    grads = [parameter.grad for parameter in discriminators.parameters() if parameter.grad is not None]
    assert all(torch.isfinite(grad).all() for grad in grads)
    assert any(grad.any() for grad in grads)


@pytest.mark.parametrize("name", TINY)
def test_generators_step_reaches_the_fake_and_no_discriminator(name):
    torch.manual_seed(0)
    discriminators = Discriminators({name: TINY[name]})
    fake = (0.1 * torch.randn(2, 640)).requires_grad_()
    judgement = discriminators.judge(0.1 * torch.randn(2, 640), fake)
    assert all(not f.requires_grad for f in itertools.chain(*judgement.real_features))
    assert all(f.requires_grad for f in itertools.chain(*judgement.fake_features))
    total = sum(logits.square().sum() for logits in judgement.fake_logits)
    (total + sum(f.square().sum() for f in itertools.chain(*judgement.fake_features))).backward()
    assert (fake.grad != 0).float().mean() > 0.9
    assert all(p.grad is None for p in discriminators.parameters())
    assert all(p.requires_grad for p in discriminators.parameters())


def test_weights_that_were_frozen_stay_so():
    discriminators = Discriminators({"multiband": TINY["multiband"]})
    frozen = next(discriminators.parameters()).requires_grad_(False)
    discriminators.judge(torch.zeros(1, 640), torch.zeros(1, 640))
    assert not frozen.requires_grad


def test_judging_silence_has_finite_gradients():
    fake = torch.zeros(1, 640, requires_grad=True)
    judgement = Discriminators(TINY).judge(torch.zeros(1, 640), fake)
    sum(logits.sum() for logits in judgement.fake_logits).backward()
    assert torch.isfinite(fake.grad).all()


def test_bfloat16_autocast_trains():
    torch.manual_seed(0)
    discriminators = Discriminators(TINY)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = discriminators(0.1 * torch.randn(2, 640), 0.1 * torch.randn(2, 640))
    value.backward()
    assert value.dtype == torch.float32
    assert all(torch.isfinite(p.grad).all() for p in discriminators.parameters())


def test_bands_cover_every_bin_once():
    module = build_discriminator("multiband", {"n_fft": [256], "band_edges": [0, 0.1, 0.5, 1]})
    assert module.bands == [[(0, 13), (13, 64), (64, 129)]]


@pytest.mark.parametrize(
    "config, message",
    [
        ({}, "none configured"),
        ({"mbd": {}}, "unknown discriminator 'mbd'; .*known: .*multiband"),
        ({"mpd": {"period": [2]}}, "discriminators.mpd: unknown key 'period'; did you mean 'periods'"),
        ({"msd": {"channels": [8] * 7}}, "multiples of 16"),
        ({"multiband": {"band_edges": [0.5, 0.2]}}, "must rise"),
        ({"multiband": {"n_fft": [16], "band_edges": [0, 0.01, 1]}}, "is empty"),
    ],
)
def test_bad_configs_are_refused(config, message):
    with pytest.raises(CodecError, match=message):
        Discriminators(config)
