"""What is timed: our model, and peers of released sizes with random weights.

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
class System:
    """A codec to time.

    Attributes:
        name: in tables.
        sample_rate: Hz.
        encode: ``(B, T)`` float32 to codes of its own form.
        decode: such codes to sound, in the memory that :func:`our_system` was given.
    """

    name: str
    sample_rate: int
    encode: Callable[[Tensor], Any]
    decode: Callable[[Any], Any]


def our_system(config: BenchConfig, on_device: bool = False) -> System:
    """The model of the run, by its engine.

    Args:
        on_device: sound and codes stay in the device's memory, and nothing is checked: the network's own
            speed. By default all start and end in the host's, as ``encode`` and ``decode`` of a model have it.
    """
    model = load_model(config.model, config.device, config.engine)
    return _bare("codec", model) if on_device else _of_codec("codec", model)


def peer_system(name: str, device: str, on_device: bool = False) -> System:
    """A peer; ``on_device`` as for :func:`our_system`.

    Raises:
        CodecError: for an unknown peer, or without transformers.
    """
    peer, target = PEERS.find(name), device if on_device else "cpu"
    try:
        # Any: each has methods of its own.
        network: Any = peer.build().eval().requires_grad_(False).to(device)
    except ImportError as error:
        raise CodecError(f"peer {name} needs transformers ({error}); pip install 'codec[bench]'") from None
    if isinstance(network, Codec):
        return _of_codec(name, network)
    return System(
        name,
        peer.sample_rate,
        lambda wav: network.encode(wav.unsqueeze(1).to(device)),
        lambda encoded: peer.decode(network, encoded).audio_values.to(target),
    )


def build_peer(name: str) -> nn.Module:
    """The network of a peer, random."""
    return PEERS.find(name).build()


@dataclass(frozen=True)
class Peer:
    """A network to compare with.

    Attributes:
        sample_rate: Hz.
        build: makes it, with random weights.
        decode: from the network and what its ``encode`` gave.
    """

    sample_rate: int
    build: Callable[[], nn.Module]
    decode: Callable[[Any, Any], Any]


PEERS: Registry[Peer] = Registry("bench peer")


def _encodec() -> nn.Module:
    from transformers import EncodecConfig, EncodecModel

    return EncodecModel(EncodecConfig())


def _mimi() -> nn.Module:
    from transformers import MimiConfig, MimiModel

    return MimiModel(MimiConfig(num_quantizers=32))


def _dac() -> nn.Module:
    from transformers import DacConfig, DacModel

    return DacModel(DacConfig(downsampling_ratios=[2, 4, 5, 8], n_codebooks=12, sampling_rate=16_000))


PEERS.register("encodec")(
    Peer(24_000, _encodec, lambda net, codes: net.decode(codes.audio_codes, codes.audio_scales))
)
PEERS.register("mimi")(Peer(24_000, _mimi, lambda net, codes: net.decode(codes.audio_codes)))
PEERS.register("dac")(Peer(16_000, _dac, lambda net, codes: net.decode(audio_codes=codes.audio_codes)))
# The network that SpeechTokenizer and DM-Codec share.
PEERS.register("dm-codec")(
    Peer(16_000, lambda: Codec(CodecConfig(architecture="seanet")), lambda net, tokens: net.decode(tokens))
)


def _of_codec(name: str, model: Codec) -> System:
    return System(name, model.sample_rate, model.encode, model.decode)


def _bare(name: str, model: Codec) -> System:
    """The steps themselves, of clips of whole frames."""

    def encode(wav: Tensor) -> Tensor:
        steps = encoding(model, model.engine, len(wav), None, deterministic=False)
        return run_even(steps, wav, wav.shape[1] // model.hop_length)

    def decode(codes: Tensor) -> Tensor:
        return run_even(decoding(model, model.engine, len(codes), deterministic=False), codes, codes.shape[2])

    return System(name, model.sample_rate, encode, decode)


@torch.inference_mode()
def noise(seconds: float, sample_rate: int, batch: int = 1) -> Tensor:
    """``(batch, T)`` of quiet noise, which costs what speech costs."""
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(batch, round(seconds * sample_rate), generator=generator)
