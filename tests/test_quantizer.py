"""Laws of the residual quantizer: lean path, training dynamics, and absence of known defects."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vector_quantize_pytorch import ResidualVQ as ReferenceRVQ

from codec.errors import CodecError
from codec.quantizers.kmeans import kmeans
from codec.quantizers.rvq import ResidualConfig, ResidualVQ, nearest
from codec.train.quantizers import EMAResidualVQ, QuantizerTrainingConfig


def make_rvq(count: int = 4, size: int = 32, dim: int = 8, seed: int = 0) -> ResidualVQ:
    rvq = ResidualVQ(ResidualConfig(count, size), dim)
    rvq.codebooks.copy_(torch.randn(rvq.codebooks.shape, generator=torch.Generator().manual_seed(seed)))
    return rvq


def full_mask(latent: torch.Tensor) -> torch.Tensor:
    return torch.ones(latent.shape[0], latent.shape[2], dtype=torch.bool)


def train_quantizer(rvq: ResidualVQ, **settings_) -> EMAResidualVQ:
    """A trainer that starts from the codebooks as they are."""
    trainer = EMAResidualVQ(rvq, QuantizerTrainingConfig(dropout=0.0, **settings_))
    trainer.adopt_codebooks()
    return trainer


@given(count=st.integers(1, 5), size=st.integers(2, 40), dim=st.integers(1, 12), frames=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_lean_path_agrees_with_the_reference_library(count, size, dim, frames):
    rvq = make_rvq(count, size, dim)
    reference = ReferenceRVQ(dim=dim, num_quantizers=count, codebook_size=size).eval()
    for layer, codebook in zip(reference.layers, rvq.codebooks, strict=True):
        layer._codebook.embed.copy_(codebook[None])
        layer._codebook.initted.fill_(True)
    latent = torch.randn(2, dim, frames)
    quantized, indices, _ = reference(latent.transpose(1, 2))
    codes = rvq.encode(latent)
    assert torch.equal(codes, indices.transpose(1, 2))
    torch.testing.assert_close(rvq.decode(codes), quantized.transpose(1, 2))


def test_nearest_is_the_smallest_distance():
    vectors, codebook = torch.randn(50, 6), torch.randn(20, 6)
    assert torch.equal(nearest(vectors, codebook), torch.cdist(vectors, codebook).argmin(dim=1))


def test_training_and_lean_path_choose_the_same_codes():
    rvq = make_rvq()
    latent = torch.randn(3, 8, 11)
    expected = rvq.encode(latent)
    output = train_quantizer(rvq).eval()(latent, full_mask(latent), step=0)
    assert torch.equal(output.codes, expected)
    torch.testing.assert_close(output.quantized, rvq.decode(expected))


def test_fewer_codebooks_are_a_prefix():
    rvq = make_rvq()
    latent = torch.randn(2, 8, 5)
    assert torch.equal(rvq.encode(latent, 2), rvq.encode(latent)[:, :2])
    with pytest.raises(CodecError, match="5 codebooks requested"):
        rvq.encode(latent, 5)


def test_commitment_by_hand():
    rvq = ResidualVQ(ResidualConfig(2, 2), 1)
    rvq.codebooks.copy_(torch.tensor([[[0.0], [4.0]], [[0.0], [1.0]]]))
    latent = torch.tensor([[[5.5, 1.0]]])
    output = train_quantizer(rvq).eval()(latent, full_mask(latent), step=0)
    # 5.5 -> 4, rest 1.5 -> 1, rest .5; 1 -> 0, rest 1 -> 1, rest 0.
    expected = torch.tensor([1.5**2, 0.5**2, 1.0**2, 0.0]).mean()
    torch.testing.assert_close(output.commitment, expected)


def test_every_layer_sends_its_commitment_to_the_encoder():
    """Defect D3: with the residual not detached, layers after the first got no gradient."""
    rvq = make_rvq()
    trainer = train_quantizer(rvq).eval()
    gradients = []
    for layer in range(1, 5):
        latent = torch.randn(1, 8, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        output = trainer(latent, full_mask(latent), step=0)
        (output.latent - output.sums[layer - 1]).square().mean().backward()
        torch.testing.assert_close(latent.grad, 2 * (latent - output.sums[layer - 1]).detach() / latent.numel())
        gradients.append(latent.grad.abs().sum().item())
    assert min(gradients) > 0


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_loss_on_any_prefix_reaches_the_encoder_unchanged(count):
    rvq = make_rvq()
    latent = torch.randn(2, 8, 3, requires_grad=True)
    output = train_quantizer(rvq).eval()(latent, full_mask(latent), step=0)
    upstream = torch.randn(2, 8, 3)
    (output.prefix(count) * upstream).sum().backward()
    torch.testing.assert_close(latent.grad, upstream)
    torch.testing.assert_close(output.prefix(count).detach(), rvq.decode(output.codes[:, :count]))


def test_dead_codes_revive_for_good():
    """Defect D5: revival without resetting the averages is undone by the next update."""
    rvq = ResidualVQ(ResidualConfig(1, 64), 4)
    rvq.codebooks.fill_(100.0)
    rvq.codebooks[0, :8] = torch.randn(8, 4)
    trainer = train_quantizer(rvq, revive_every=1, decay=0.9)
    for step in range(100):
        latent = torch.randn(4, 4, 64, generator=torch.Generator().manual_seed(step))
        trainer(latent, full_mask(latent), step)
    codes = rvq.encode(torch.randn(16, 4, 256))
    assert len(codes.unique()) == 64
    assert rvq.codebooks.abs().max() < 10


def test_codebooks_live_when_a_batch_has_fewer_vectors_than_codes():
    """Defect D6: 900 vectors for 1024 codes left most codes dead and clusters empty."""
    rvq = ResidualVQ(ResidualConfig(2, 256), 4)
    config = QuantizerTrainingConfig(init_steps=4, init_vectors=1024, revive_every=5)
    trainer = EMAResidualVQ(rvq, config)
    for step in range(150):
        latent = torch.randn(2, 4, 50, generator=torch.Generator().manual_seed(step))
        trainer(latent, full_mask(latent), step)
    codes = rvq.encode(torch.randn(16, 4, 1000))
    for layer in range(2):
        assert len(codes[:, layer].unique()) > 0.9 * 256
    assert trainer.usage().min() > 0.9


def test_masked_frames_teach_nothing():
    latent = torch.randn(2, 8, 6)
    mask = full_mask(latent)
    mask[:, 4:] = False
    states = []
    for noise in (0.0, 50.0):
        trainer = train_quantizer(make_rvq(), revive_every=1)
        disturbed = latent.clone()
        disturbed[:, :, 4:] += noise
        trainer(disturbed, mask, step=0)
        states.append((trainer.rvq.codebooks.clone(), trainer.cluster_size.clone()))
    torch.testing.assert_close(states[0], states[1])


def test_moving_average_by_hand():
    rvq = ResidualVQ(ResidualConfig(1, 2), 1)
    rvq.codebooks.copy_(torch.tensor([[[0.0], [10.0]]]))
    trainer = train_quantizer(rvq, decay=0.5, revive_every=1000)
    latent = torch.tensor([[[2.0, 4.0, 9.0]]])
    trainer(latent, full_mask(latent), step=1)
    # Code 0: count (1 + 2) / 2, sum (0 + 6) / 2; code 1: count (1 + 1) / 2, sum (10 + 9) / 2.
    torch.testing.assert_close(trainer.cluster_size, torch.tensor([[1.5, 1.0]]))
    torch.testing.assert_close(rvq.codebooks, torch.tensor([[[2.0], [9.5]]]))


def test_dropout_decodes_a_prefix_and_repeats_for_a_step():
    rvq = make_rvq()
    trainer = EMAResidualVQ(rvq, QuantizerTrainingConfig(dropout=1.0))
    trainer.adopt_codebooks()
    before = rvq.codebooks.clone()
    latent = torch.randn(16, 8, 5)
    first = trainer(latent, full_mask(latent), step=7)
    chosen = set()
    for clip in range(16):
        fits = [
            k for k in range(4) if torch.allclose(first.quantized[clip], first.sums[k, clip], atol=1e-5)
        ]
        assert len(fits) == 1 and fits[0] < 3, "each clip is decoded from 1 to K - 1 layers"
        chosen.update(fits)
    assert len(chosen) > 1
    rvq.codebooks.copy_(before)
    again = trainer(latent, full_mask(latent), step=7)
    torch.testing.assert_close(again.quantized, first.quantized)


def test_dropout_draws_the_numbers_of_layers_that_were_asked_for():
    trainer = EMAResidualVQ(make_rvq(), QuantizerTrainingConfig(dropout=0.5, dropout_layers=(1, 1, 3)))
    drawn = torch.cat([trainer.draw_layers(100, step) for step in range(40)])
    shares = torch.bincount(drawn, minlength=5) / len(drawn)
    torch.testing.assert_close(shares, torch.tensor([0.0, 1 / 3, 0.0, 1 / 6, 0.5]), atol=0.04, rtol=0.0)
    with pytest.raises(CodecError, match="numbers from 1 on"):
        QuantizerTrainingConfig(dropout_layers=(0,))
    with pytest.raises(CodecError, match="5 layers, and the model has 4"):
        EMAResidualVQ(make_rvq(), QuantizerTrainingConfig(dropout_layers=(5,)))


def test_state_resumes_exactly():
    def run(trainer, steps):
        for step in steps:
            latent = torch.randn(2, 8, 20, generator=torch.Generator().manual_seed(step))
            trainer(latent, full_mask(latent), step)

    config = QuantizerTrainingConfig(init_steps=3, init_vectors=100, revive_every=2)
    straight = EMAResidualVQ(make_rvq(), config)
    run(straight, range(10))
    for split in (2, 5):
        first = EMAResidualVQ(make_rvq(), config)
        run(first, range(split))
        resumed = EMAResidualVQ(make_rvq(seed=9), config)
        resumed.load_state_dict(first.state_dict())
        resumed.rvq.load_state_dict(first.rvq.state_dict())
        run(resumed, range(split, 10))
        assert torch.equal(resumed.rvq.codebooks, straight.rvq.codebooks)
        assert torch.equal(resumed.embed_sum, straight.embed_sum)


def test_evaluation_changes_nothing():
    trainer = train_quantizer(make_rvq(), revive_every=1).eval()
    before = trainer.rvq.codebooks.clone(), trainer.cluster_size.clone()
    latent = torch.randn(2, 8, 20)
    trainer(latent, full_mask(latent), step=0)
    assert torch.equal(trainer.rvq.codebooks, before[0])
    assert torch.equal(trainer.cluster_size, before[1])


def test_kmeans_finds_separate_clusters():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = (centres[:, None] + 0.1 * torch.randn(3, 200, 2)).reshape(-1, 2)
    found = kmeans(vectors, 3, 50, torch.Generator().manual_seed(0))
    assert torch.cdist(centres, found).min(dim=1).values.max() < 0.2
