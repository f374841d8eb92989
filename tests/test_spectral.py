"""Laws of the spectral architecture: reconstruction, causality, chunks, batches, latency."""

import math
from itertools import pairwise

import pytest
import torch
from conftest import make_speech, make_tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from codec.errors import CodecError
from codec.model.spectral import SpectralConfig
from codec.model.spectral.bands import gain_matrix
from codec.model.spectral.blocks import Backbone
from codec.model.spectral.stft import CausalISTFT, CausalSTFT

HOP = 320


def cut(total: int, cuts: list[int]) -> list[slice]:
    """Consecutive slices of ``range(total)`` at the given places."""
    places = sorted({0, total, *(place % (total + 1) for place in cuts)})
    return [slice(a, b) for a, b in pairwise(places)]


def in_chunks(network, signal: torch.Tensor, frames: list[slice], hop: int) -> torch.Tensor:
    """Feed pieces of the last axis one after another, carrying the state."""
    state, outputs = None, []
    for piece in frames:
        output, state = network(signal[..., piece.start * hop : piece.stop * hop], state)
        outputs.append(output)
    return torch.cat(outputs, dim=-1)


def test_inverse_stft_gives_the_signal_back_one_hop_late():
    wav = torch.randn(2, 12 * HOP)
    spectrum, _ = CausalSTFT(2 * HOP, HOP)(wav)
    restored, _ = CausalISTFT(2 * HOP, HOP)(spectrum)
    torch.testing.assert_close(restored[:, HOP:], wav[:, :-HOP], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(restored[:, :HOP], torch.zeros(2, HOP), atol=1e-5, rtol=0)


@given(cuts=st.lists(st.integers(0, 1000), max_size=5), frames=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_chunks_with_state_equal_the_whole(tiny_model, cuts, frames):
    pieces = cut(frames, cuts)
    wav = torch.randn(2, frames * HOP, generator=torch.Generator().manual_seed(frames))
    latent, _ = tiny_model.encoder(wav)
    torch.testing.assert_close(in_chunks(tiny_model.encoder, wav, pieces, HOP), latent)
    decoded, _ = tiny_model.decoder(latent)
    torch.testing.assert_close(in_chunks(tiny_model.decoder, latent, pieces, 1), decoded)


@given(frames=st.integers(2, 20), keep=st.integers(1, 19))
@settings(max_examples=20, deadline=None)
def test_the_future_changes_nothing(tiny_model, frames, keep):
    keep = min(keep, frames - 1)
    wav = torch.randn(1, frames * HOP)
    other = wav.clone()
    other[:, keep * HOP :] = torch.randn(1, (frames - keep) * HOP)
    latent, other_latent = tiny_model.encoder(wav)[0], tiny_model.encoder(other)[0]
    torch.testing.assert_close(latent[..., :keep], other_latent[..., :keep])
    assert not torch.allclose(latent[..., keep], other_latent[..., keep])


def test_latency_is_what_a_change_of_input_needs_to_arrive(tiny_model):
    """Sample n is settled by the samples before ``n + latency``, and by no fewer hops."""
    latency = tiny_model.latency.samples
    assert tiny_model.latency.milliseconds == 40.0 == 1000 * latency / tiny_model.sample_rate
    wav = torch.randn(1, 20 * HOP)
    late = wav.clone()
    late[:, 10 * HOP :] = 0
    outputs = [tiny_model.decoder(tiny_model.encoder(signal)[0])[0] for signal in (wav, late)]
    aligned = [output[:, tiny_model.decoder.delay :] for output in outputs]
    first_change = int((aligned[0] - aligned[1]).abs().gt(1e-7).int().argmax())
    # The last hop before the change settles with the hop that holds it; the window starts at zero.
    assert 10 * HOP - latency < first_change <= 10 * HOP - latency + HOP + 8


@given(samples=st.lists(st.integers(1, 5000), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_padded_batch_equals_single_clips(tiny_model, samples):
    clips = [torch.from_numpy(make_speech(0.35, seed=seed))[:n] for seed, n in enumerate(samples)]
    wav = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    wav += 0.1 * (torch.arange(wav.shape[1]) >= torch.tensor([len(c) for c in clips])[:, None])
    batch = tiny_model.encode(wav, lengths=torch.tensor([len(clip) for clip in clips]))
    decoded = tiny_model.decode(batch)
    for index, clip in enumerate(clips):
        single = tiny_model.encode(clip)
        assert torch.equal(batch[index].codes, single.codes)
        assert single.codes.shape == (1, 8, -(-len(clip) // HOP))
        restored = tiny_model.decode(single)
        assert restored.shape == (1, len(clip))
        torch.testing.assert_close(decoded[index, : len(clip)], restored[0], atol=1e-5, rtol=1e-4)
        assert not decoded[index, len(clip) :].any()


def test_every_weight_of_the_default_gets_gradient():
    model = codec.Codec()
    latent, _ = model.encoder(0.1 * torch.randn(1, 8 * HOP))
    wav, _ = model.decoder(latent)
    wav.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert 5e6 < sum(p.numel() for p in model.parameters()) < 15e6


def test_gradients_are_finite_in_silence():
    model = codec.Codec()
    wav = torch.zeros(1, 4 * HOP, requires_grad=True)
    model.decoder(model.encoder(wav)[0])[0].sum().backward()
    assert torch.isfinite(wav.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_backbone_starts_near_the_identity_of_its_embedding():
    """Residual branches are scaled down at the start, so depth costs no signal."""
    backbone = Backbone(in_dim=8, dim=16, out_dim=8, layers=8, expansion=2, kernel_size=7)
    x = torch.randn(1, 10, 8)
    embedded = backbone.embed_norm(backbone.embed(x))
    y = embedded
    for block in backbone.blocks:
        y, _ = block(y)
    assert (y - embedded).norm() < 0.5 * embedded.norm()


def test_window_must_be_twice_the_hop():
    with pytest.raises(CodecError, match="must be twice"):
        SpectralConfig(hop_length=320, window_length=512)


def test_band_gains_interpolate_between_bands():
    matrix = gain_matrix(bands=24, bins=321)
    torch.testing.assert_close(matrix.sum(dim=0), torch.ones(321))
    assert matrix.min() >= 0 and (matrix > 0).sum(dim=0).max() <= 2
    assert matrix[0, 0] == 1 and matrix[-1, -1] == 1
    widths = matrix.sum(dim=1)[1:-1]
    assert (widths.diff() > 0).all()


def test_one_view_is_linear_in_the_waveform_and_knows_its_level(tiny_model):
    """Louder sound is the same unit spectrum with a higher level beside it."""
    bins = tiny_model.config.network.num_bins
    spectrum, _ = tiny_model.encoder.stft(torch.randn(1, 8 * HOP))
    quiet, loud = (tiny_model.encoder.features(gain * spectrum.real, gain * spectrum.imag) for gain in (1, 4))
    torch.testing.assert_close(quiet[..., : 2 * bins], loud[..., : 2 * bins], atol=1e-4, rtol=1e-4)
    assert (loud[..., 2 * bins] > quiet[..., 2 * bins]).all()
    assert not torch.allclose(quiet[..., 2 * bins + 1 :], loud[..., 2 * bins + 1 :])


def test_too_few_gain_bands_are_refused():
    with pytest.raises(CodecError, match="gain_bands 1"):
        SpectralConfig(gain_bands=1)


def test_gains_beyond_the_bound_can_come_back():
    decoder = make_tiny_model().decoder.train().requires_grad_()
    latent = torch.randn(1, decoder.backbone.embed.in_features, 5)
    bias = decoder.backbone.out.bias
    with torch.no_grad():
        bias[-decoder.sizes[2] :] = 50.0
    wav, _ = decoder(latent)
    assert wav.abs().max() < 1e5
    wav.abs().mean().backward()
    # Less gain, less sound.
    assert (bias.grad[-decoder.sizes[2] :] > 0).all()


def test_an_encoder_is_given_levels_whatever_the_phases_are():
    """Means of power around bands, relative to the frame's energy; the other views change with the phases."""
    encoder = make_tiny_model(level_bands=10).encoder
    bins = encoder.bands.shape[0]
    generator = torch.Generator().manual_seed(0)
    magnitude = torch.rand(1, 5, bins, generator=generator)
    views = []
    for _ in range(2):
        phase = 6.2832 * torch.rand(1, 5, bins, generator=generator)
        views.append(encoder.features(magnitude * phase.cos(), magnitude * phase.sin()))
    assert torch.allclose(views[0][..., -10:], views[1][..., -10:], atol=1e-5)
    assert not torch.allclose(views[0][..., :-11], views[1][..., :-11], atol=1e-2)
    louder = magnitude * torch.where(torch.arange(bins) > bins // 2, 10.0, 1.0)
    raised = encoder.features(louder, torch.zeros_like(louder))[..., -10:]
    level = encoder.features(magnitude, torch.zeros_like(magnitude))[..., -10:]
    difference = raised - level
    # Twenty decibels between the lowest band and the highest, on the encoder's scale of natural logarithms.
    expected = torch.full((1, 5), 0.8 * math.log(100))
    assert torch.allclose(difference[..., -1] - difference[..., 0], expected, atol=0.03)
