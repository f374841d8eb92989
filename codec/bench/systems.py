"""The timed systems: our model, and baselines of released sizes with random weights.

Speed does not depend on the weights' values, so nothing has to be downloaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from codec.bench.types import BenchConfig
from codec.engines.torch import decoding, encoding
from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.config import CodecConfig
from codec.model.files import load_model
from codec.model.steps import run_even
from codec.registry import Registry


@dataclass(frozen=True)
class TimedSystem:
    """A codec to time.

    Attributes:
        name: in tables.
        sample_rate: Hz.
        encode: ``(B, T)`` float32 to codes in the system's own form.
        decode: such codes to audio, in the memory that :func:`our_system` was given.
    """

    name: str
    sample_rate: int
    encode: Callable[[Tensor], Any]
    decode: Callable[[Any], Any]


def our_system(config: BenchConfig, on_device: bool = False) -> TimedSystem:
    """The model of the run, by its engine.

    Args:
        on_device: audio and codes stay in the device's memory, and nothing is checked: the network's own
            speed. By default all start and end in the host's, as ``encode`` and ``decode`` of a model have it.
    """
    model = load_model(config.model, config.device, config.engine)
    return _bare("codec", model) if on_device else _of_codec("codec", model)


def baseline_system(name: str, device: str, on_device: bool = False) -> TimedSystem:
    """A baseline; ``on_device`` as for :func:`our_system`.

    Raises:
        CodecError: for an unknown baseline, or without transformers.
    """
    baseline, target = BASELINES.find(name), device if on_device else "cpu"
    try:
        # Any: each has methods of its own.
        network: Any = baseline.build().eval().requires_grad_(False).to(device)
    except ImportError as error:
        raise CodecError(f"baseline {name} needs transformers ({error}); pip install 'codec[bench]'") from None
    if isinstance(network, Codec):
        return _of_codec(name, network)
    return TimedSystem(
        name,
        baseline.sample_rate,
        lambda wav: network.encode(wav.unsqueeze(1).to(device)),
        lambda encoded: baseline.decode(network, encoded).audio_values.to(target),
    )


def build_baseline(name: str) -> nn.Module:
    """The network of a baseline, random."""
    from transformers.utils import logging

    # That of saving and loading it, which takes a moment.
    logging.disable_progress_bar()
    return BASELINES.find(name).build()


@dataclass(frozen=True)
class Baseline:
    """A network to compare with.

    Attributes:
        sample_rate: Hz.
        build: makes it, with random weights.
        decode: from the network and what its ``encode`` gave.
    """

    sample_rate: int
    build: Callable[[], nn.Module]
    decode: Callable[[Any, Any], Any]


BASELINES: Registry[Baseline] = Registry("bench baseline", earlier="bench peer")


def _encodec() -> nn.Module:
    from transformers import EncodecConfig, EncodecModel

    return EncodecModel(EncodecConfig())


def _mimi() -> nn.Module:
    from transformers import MimiConfig, MimiModel

    return MimiModel(MimiConfig(num_quantizers=32))


def _dac() -> nn.Module:
    from transformers import DacConfig, DacModel

    return DacModel(DacConfig(downsampling_ratios=[2, 4, 5, 8], n_codebooks=12, sampling_rate=16_000))


BASELINES.register("encodec")(
    Baseline(24_000, _encodec, lambda net, codes: net.decode(codes.audio_codes, codes.audio_scales))
)
BASELINES.register("mimi")(Baseline(24_000, _mimi, lambda net, codes: net.decode(codes.audio_codes)))
BASELINES.register("dac")(Baseline(16_000, _dac, lambda net, codes: net.decode(audio_codes=codes.audio_codes)))
# The network that SpeechTokenizer and DM-Codec share.
BASELINES.register("dm-codec")(
    Baseline(16_000, lambda: Codec(CodecConfig(architecture="seanet")), lambda net, tokens: net.decode(tokens))
)


def _of_codec(name: str, model: Codec) -> TimedSystem:
    return TimedSystem(name, model.sample_rate, model.encode, model.decode)


def _bare(name: str, model: Codec) -> TimedSystem:
    """The steps themselves, of clips of whole frames."""

    def encode(wav: Tensor) -> Tensor:
        steps = encoding(model, model.engine, len(wav), None, deterministic=False)
        return run_even(steps, wav, wav.shape[1] // model.hop_length)

    def decode(codes: Tensor) -> Tensor:
        return run_even(decoding(model, model.engine, len(codes), deterministic=False), codes, codes.shape[2])

    return TimedSystem(name, model.sample_rate, encode, decode)


@torch.inference_mode()
def noise(seconds: float, sample_rate: int, batch: int = 1) -> Tensor:
    """``(batch, T)`` of quiet noise, which costs what speech costs."""
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(batch, round(seconds * sample_rate), generator=generator)
