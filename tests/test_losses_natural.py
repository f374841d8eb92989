"""Losses for a decoder that draws phases: levels where phases are random, spectra where they are not."""

import dataclasses
import math

import pytest
import torch
from conftest import make_speech
from loss_inputs import loss_input

from codec.errors import CodecError
from codec.train.losses.registry import LossContext, build_loss
from codec.train.types import LossInput

CONTEXT = LossContext(sample_rate=16_000, latent_dim=8, num_codebooks=2)
SPEECH = torch.from_numpy(make_speech(1.28))[None]


def noise(seed: int, batch: int = 4) -> torch.Tensor:
    return 0.05 * torch.randn(batch, 16_000, generator=torch.Generator().manual_seed(seed))


def distance(name: str, real: torch.Tensor, fake: torch.Tensor, **options) -> torch.Tensor:
    return build_loss(name, options, CONTEXT)(LossInput(real, fake, None, None))


@pytest.mark.parametrize("name", ["log_spectrum", "band_power", "low_waveform"])
def test_equal_sounds_have_no_distance_and_louder_or_quieter_ones_have_one(name):
    least = distance(name, SPEECH, SPEECH)
    assert least < 2e-3
    for gain in (0.8, 1.25):
        assert distance(name, SPEECH, gain * SPEECH) > least + 0.09


@pytest.mark.parametrize("options", [{}, {"frames": None, "n_fft": [512], "above": 0.0, "band_hertz": 800.0}])
def test_other_noise_is_nearest_at_its_true_level(options):
    gains = [0.7, 0.85, 1.0, 1.2, 1.4]
    losses = [distance("band_power", noise(0), gain * noise(1), **options) for gain in gains]
    assert min(range(len(gains)), key=losses.__getitem__) == gains.index(1.0)


def test_log_bins_would_make_that_noise_too_quiet():
    quiet = distance("log_spectrum", noise(0), 0.85 * noise(1), below=None)
    assert quiet < distance("log_spectrum", noise(0), noise(1), below=None)


def test_the_level_of_a_band_reads_in_natural_logarithms():
    options = {"frames": None, "n_fft": [512], "above": 0.0, "band_hertz": 800.0}
    assert distance("band_power", noise(0), 2 * noise(0), **options).item() == pytest.approx(math.log(4), rel=1e-2)


def test_bands_end_where_they_are_told_to():
    time = torch.arange(16_000) / 16_000
    tone = 0.1 * torch.sin(2 * math.pi * 5_000 * time)[None]
    options = {"n_fft": [2048], "frames": [3], "band_hertz": 40.0, "above": 1200.0}
    assert distance("band_power", noise(0, 1), noise(0, 1) + tone, **options) > 0.01
    assert distance("band_power", noise(0, 1), noise(0, 1) + tone, **options, below=3400.0) < 2e-3
    for below, message in ((1230.0, "no band of 40.0 Hz fits above 1200.0 Hz and below"), (9000.0, "beyond half")):
        with pytest.raises(CodecError, match=message):
            distance("band_power", SPEECH, SPEECH, **options, below=below)


def test_the_low_waveform_hears_phases_below_its_frequency_and_nothing_above():
    time = torch.arange(16_000) / 16_000
    low, turned, high = (torch.sin(2 * math.pi * f * time + p)[None] for f, p in ((200, 0), (200, 1), (3000, 0)))
    assert distance("low_waveform", low, turned) > 0.05
    assert distance("low_waveform", low, low + high) < 1e-3
    # Relative to the level, down to silence.
    for gain in (0.1, 10.0):
        same = distance("low_waveform", gain * low, gain * turned)
        assert same.item() == pytest.approx(distance("low_waveform", low, turned).item(), rel=1e-2)
    assert distance("low_waveform", torch.zeros_like(low), 1e-5 * low) < 0.05
    with pytest.raises(CodecError, match=r"below must lie within the lower half of the spectrum, got 4500\.0 Hz"):
        distance("low_waveform", low, low, below=4500.0)


@pytest.mark.parametrize("name", ["low_waveform", "band_power"])
def test_clips_of_few_codebooks_do_not_count(name):
    wav = torch.cat([SPEECH, SPEECH])
    inputs = loss_input(real=wav, fake=0.5 * wav, latent=torch.zeros(2, 8, 64))
    inputs.quantizer.active = torch.tensor([3, 4])
    context = dataclasses.replace(CONTEXT, num_codebooks=4)
    one, both = (build_loss(name, {"min_codebooks": n}, context)(inputs) for n in (4, 3))
    assert both > 0
    torch.testing.assert_close(2 * one, both)
    with pytest.raises(CodecError, match="min_codebooks must lie from 1 to 4, the model's, got 5"):
        build_loss(name, {"min_codebooks": 5}, context)


def test_frequencies_are_shared_out_between_the_two():
    time = torch.arange(16_000) / 16_000
    low, high = (0.1 * torch.sin(2 * math.pi * f * time)[None] for f in (600.0, 6_000.0))
    # Beside it, or logarithms would compare what rounding leaves of a tone far away from it.
    low, high = low + 0.1 * noise(0, 1), high + 0.1 * noise(0, 1)
    both = low + high - 0.1 * noise(0, 1)
    assert distance("log_spectrum", low, both, magnitude_weight=0.0) < 0.5
    assert distance("band_power", high, both) < 0.02
    assert distance("log_spectrum", high, both) > 2
    assert distance("band_power", low, both) > 0.1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("log_spectrum", {"n_fft": []}, "n_fft is empty"),
        ("log_spectrum", {"below": 9000.0}, "below must lie within the spectrum"),
        ("band_power", {"frames": [1]}, "frames and n_fft differ"),
        ("band_power", {"above": 7900.0}, "no band of 400.0 Hz fits"),
        ("band_power", {"n_fft": [64], "frames": [1], "band_hertz": 100.0}, "too short for 100.0 Hz"),
        ("output_features", {"model": "x", "precision": "fp8"}, "precision 'fp8'"),
        ("output_features", {"model": "x", "crops": 0}, "crops must be 1 or more, got 0"),
    ],
)
def test_options_that_cannot_be(name, options, message):
    with pytest.raises(CodecError, match=message):
        build_loss(name, options, CONTEXT)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=32, vocab_size=64, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("whisper")
    transformers.WhisperModel(config).save_pretrained(folder)
    return folder


def test_log_mel_is_that_of_the_feature_extractor(whisper):
    from transformers import WhisperFeatureExtractor

    loss = build_loss("output_features", {"model": str(whisper), "precision": "fp32"}, CONTEXT)
    extract = WhisperFeatureExtractor(feature_size=80)
    expected = extract(SPEECH[0].numpy(), sampling_rate=16_000, padding=False, return_tensors="np")
    torch.testing.assert_close(
        loss.features.log_mel(SPEECH), torch.as_tensor(expected["input_features"]), atol=2e-4, rtol=0
    )


def test_features_teach_the_sound_and_nothing_else(whisper):
    loss = build_loss("output_features", {"model": str(whisper)}, CONTEXT)
    assert not list(loss.parameters()) and not loss.state_dict()
    fake = (SPEECH + 0.01 * torch.randn(SPEECH.shape)).requires_grad_()
    real = SPEECH.clone().requires_grad_()
    loss(LossInput(real, fake, None, None)).backward()
    assert fake.grad.abs().sum() > 0 and real.grad is None
    assert all(parameter.grad is None for parameter in loss.features._encoder[0].parameters())
    assert loss(LossInput(SPEECH, SPEECH, None, None)) == 0


def test_features_of_some_crops_are_those_of_the_first(whisper):
    some = build_loss("output_features", {"model": str(whisper), "crops": 2}, CONTEXT)
    every = build_loss("output_features", {"model": str(whisper)}, CONTEXT)
    real = SPEECH[:1].repeat(3, 1)
    fake = (real + 0.01 * torch.randn(real.shape)).requires_grad_()
    value = some(LossInput(real, fake, None, None))
    torch.testing.assert_close(value, every(LossInput(real[:2], fake[:2], None, None)))
    value.backward()
    assert fake.grad[:2].abs().sum() > 0 and not fake.grad[2:].any()
