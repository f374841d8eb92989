"""Fixtures that every test may use: small random models and generated speech-like audio."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import soundfile
import torch

import codec
from codec.config import from_dict

torch.set_num_threads(1)

TINY_CONFIG = {
    "architecture": "spectral",
    "network": {
        "latent_dim": 8,
        "encoder_dim": 16,
        "encoder_layers": 2,
        "decoder_dim": 16,
        "decoder_layers": 2,
        "expansion": 2,
    },
}


def make_tiny_model(seed: int = 0, **network: float) -> codec.Codec:
    """A ``spectral`` model of a few thousand weights, with codebooks that spread the codes.

    Args:
        network: settings in place of, or beyond, those of the tiny network.
    """
    values = {**TINY_CONFIG, "network": {**TINY_CONFIG["network"], **network}}
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        # What is not drawn below, such as biases.
        torch.manual_seed(seed)
        model = codec.Codec(from_dict(codec.CodecConfig, values))
        for tensor in model.state_dict().values():
            if tensor.ndim > 1:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / tensor[0].numel() ** 0.5)
        for layer, codebook in enumerate(model.quantizer.codebooks):
            codebook.copy_(torch.randn(codebook.shape, generator=generator) * 0.7**layer)
    return model.eval().requires_grad_(False)


def make_speech(seconds: float, sample_rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """``(T,)`` float32: a gliding harmonic tone with syllable-like loudness, and some noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    tone = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 12))
    loudness = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time)
    noise = 0.01 * rng.standard_normal(len(time))
    return (0.2 * loudness * tone + noise).astype(np.float32)


@pytest.fixture(autouse=True, scope="session")
def interruptible():
    """Shells start jobs in the background with interrupts ignored; tests that interrupt themselves would hang there."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_model() -> codec.Codec:
    return make_tiny_model()


@pytest.fixture(scope="session")
def tiny_model_dir(tiny_model, tmp_path_factory):
    """Folder of the saved :func:`tiny_model`, for ``codec.load`` and ``--model``."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    codec.save(tiny_model, folder)
    return folder


@pytest.fixture(scope="session")
def other_model_dir(tmp_path_factory):
    """A model of the same shape with other weights, and so another fingerprint."""
    folder = tmp_path_factory.mktemp("models") / "other"
    codec.save(make_tiny_model(seed=1), folder)
    return folder


@pytest.fixture
def speech_file(tmp_path):
    """Two thirds of a second at 16 kHz, mono; its length is no multiple of the hop."""
    path = tmp_path / "speech.wav"
    soundfile.write(path, make_speech(0.6713), 16_000)
    return path
