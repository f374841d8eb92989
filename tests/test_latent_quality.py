"""The recipe that asks whether the quantizer limits a model."""

import runpy
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import make_speech, make_tiny_model

from codec.data.manifest import Clip

RECIPE = runpy.run_path(str(Path(__file__).parent.parent / "recipes" / "latent_quality.py"))


@torch.inference_mode()
def test_sound_of_codes_is_what_the_model_decodes(tmp_path):
    model, wav = make_tiny_model(), make_speech(0.55)
    soundfile.write(tmp_path / "a.wav", wav, model.sample_rate, subtype="FLOAT")
    latents, sounds = RECIPE["examine"](model, Clip("a.wav", 0.55, root=str(tmp_path)), 6.0)
    expected = model.decode(model.encode(torch.from_numpy(wav)))[0]
    torch.testing.assert_close(torch.from_numpy(sounds["codes"].output), expected, rtol=1e-5, atol=1e-5)
    assert len(sounds["latents"].output) == len(wav)
    assert (sounds["latents"].output != sounds["codes"].output).any()
    assert latents.exact.shape == latents.quantized.shape == (model.num_frames(len(wav)), 8)


def test_decibels_and_dimensions():
    generator = torch.Generator().manual_seed(0)
    flat = (
        torch.randn(4000, 3, generator=generator)
        @ torch.linalg.qr(torch.randn(10, 3, generator=generator))[0].T
    )
    noisy = flat + 0.1 * flat.roll(1, 0)
    latents = [
        RECIPE["Latents"](part, other)
        for part, other in zip(flat.split(1000), noisy.split(1000), strict=True)
    ]
    assert RECIPE["dimensions"](latents) == 3
    assert RECIPE["dimensions"](latents, share=0.5) == 2
    assert RECIPE["snr_db"](latents) == pytest.approx(20.0, abs=0.01)
