"""Architectures by name: a config dataclass, an encoder and a decoder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch.nn.functional as F
from torch import Tensor, nn

from codec.registry import Registry


class Encoder(nn.Module):
    """Waveform to latent frames, as one function of (input, state): what the network asks of its module."""

    causal: bool
    """Whether frames depend on the past only, so that the state makes chunks exact."""
    min_rows: int
    """Least frames of a step, over the batch, from which on a frame is rounded the same whatever is
    next to it; 1 where no number helps. Smaller steps are filled up (docs/streaming.md)."""
    first_frames: int = 1
    """Least frames of the first step of a causal network, but for a signal that has fewer altogether: so
    many are needed to know the first one."""
    any_end: bool = False
    """Whether the last step of a causal network takes any number of samples T, to ``ceil(T / hop_length)``
    frames. Otherwise silence fills up the last frame."""
    delay: int = 0
    """Samples by which the frames lag the audio, because the network looks ahead: a multiple of the hop. The first
    ``delay / hop_length`` frames of a signal belong to none, and so much silence after its end brings its last. Only
    where ``first_frames`` and ``any_end`` are as here."""

    __call__: Callable[..., tuple[Tensor, Any]]

    def forward(self, wav: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """``wav (B, n * hop_length)`` to ``(latent (B, D, n), state)``; ``None`` is a fresh state.

        A state is a tree (:mod:`codec.model.states`) of tensors whose first axis is the batch; zeros
        in all of them mean a fresh state too.

        An encoder that is not causal takes any number of samples T, and ``n = ceil(T / hop_length)``.
        """
        raise NotImplementedError

    def whole(self, wav: Tensor) -> Tensor:
        """``wav (B, n * hop_length)`` of whole clips, which silence follows, to ``latent (B, D, n)``, on time."""
        if not self.delay:
            return self(wav)[0]
        latent, _ = self(F.pad(wav, (0, self.delay)))
        early = latent.shape[2] * self.delay // (wav.shape[1] + self.delay)
        return latent[:, :, early:]


class Decoder(nn.Module):
    """Latent frames to waveform, as one function of (input, state): what the network asks of its module."""

    causal: bool
    delay: int
    """Samples by which the output lags the frames: a multiple of the hop; 0 without overlap-add."""
    min_rows: int
    """The same as for the encoder."""
    first_frames: int = 1
    """The same as for the encoder."""

    __call__: Callable[..., tuple[Tensor, Any]]

    def forward(self, latent: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """``latent (B, D, n)`` to ``(wav (B, n * hop_length), state)``."""
        raise NotImplementedError


@runtime_checkable
class NetworkConfig(Protocol):
    """The interface of a registered config dataclass."""

    @property
    def hop_length(self) -> int: ...

    @property
    def latent_dim(self) -> int: ...

    decoder_settings: ClassVar[tuple[str, ...]]
    """Names of the settings that only the decoder has: they may change without changing the tokens."""


@dataclass(frozen=True)
class Architecture:
    """A registered architecture.

    Attributes:
        config: dataclass of its settings, a :class:`NetworkConfig`.
        encoder: makes an :class:`Encoder` from such settings.
        decoder: makes a :class:`Decoder`.
    """

    config: type
    encoder: Callable[[Any], Encoder]
    decoder: Callable[[Any], Decoder]


ARCHITECTURES: Registry[Architecture] = Registry("architecture")


def architecture(
    name: str,
    config: type,
    encoder: Callable[[Any], Encoder],
    decoder: Callable[[Any], Decoder],
) -> None:
    """Register a config dataclass and the networks that are made of it under ``name``."""
    ARCHITECTURES.register(name)(Architecture(config, encoder, decoder))


def architecture_of(name: str) -> Architecture:
    """A registered architecture.

    Raises:
        CodecError: for a name that is not registered.
    """
    return ARCHITECTURES.find(name)
