"""What every quantizer offers, and quantizers by name."""

import dataclasses
import operator
from collections.abc import Callable
from itertools import chain
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from codec.config import from_dict, to_dict
from codec.errors import CodecError
from codec.registry import Registry

ABSENT = -1
"""In place of a code: this layer adds nothing. A frame without any code is the zero latent."""

Step = Callable[[Tensor], Tensor]


class QuantizerConfig(Protocol):
    """What a quantizer's config dataclass offers besides its own settings."""

    always_saved: ClassVar[tuple[str, ...]]
    """Settings that ``config.json`` has even at their defaults."""

    @property
    def type(self) -> str:
        """The registered name, a field with one possible value."""

    @property
    def num_codebooks(self) -> int: ...

    @property
    def codebook_size(self) -> int:
        """Entries of the largest codebook."""

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""


class Quantizer(nn.Module):
    """Latents ``(B, D, T)`` to codes ``(B, K, T)`` and back.

    A subclass has a ``Config`` dataclass, is built as ``cls(config, latent_dim)`` and says how to
    :meth:`prepare_encode`; where a latent is a sum of one vector per code, :meth:`tables` says how to decode.
    """

    Config: ClassVar[type]

    def __init__(self, config: QuantizerConfig):
        super().__init__()
        self.config = config

    @property
    def sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return self.config.layer_sizes

    @property
    def num_codebooks(self) -> int:
        return len(self.sizes)

    @property
    def device(self) -> torch.device:
        return next(chain(self.buffers(), self.parameters())).device

    def prepare_encode(self, num_codebooks: int) -> Step:
        """Latent ``(B, D, T)`` to codes ``(B, num_codebooks, T)`` int64, by the weights of this moment."""
        raise NotImplementedError

    def prepare_decode(self) -> Step:
        """Codes ``(B, K, T)`` of the first K layers, :data:`ABSENT` where one is left out, to ``(B, D, T)``."""
        tables = self.tables()
        # One row of zeros before the others: the vector of an absent code.
        vectors = torch.cat([torch.zeros_like(tables[:, :1]), tables], dim=1).unbind()

        def decode(codes: Tensor) -> Tensor:
            index = codes + 1
            latent = vectors[0][index[:, 0]]
            for layer in range(1, codes.shape[1]):
                latent = latent + vectors[layer][index[:, layer]]
            return latent.transpose(1, 2)

        return decode

    def tables(self) -> Tensor:
        """``(K, C, D)``: what each code adds to the latent; zeros past the end of a smaller codebook."""
        raise NotImplementedError

    def vectors(self) -> list[Tensor] | None:
        """What each code adds to the latent, ``(C_k, D)`` of every layer; ``None`` where it is no sum."""
        return [table[:size] for table, size in zip(self.tables(), self.sizes, strict=True)]

    def encode(self, latent: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Codes ``(B, K, T)`` int64 of latents ``(B, D, T)``, of all layers by default."""
        return self.prepare_encode(self.check_count(num_codebooks))(latent)

    def decode(self, codes: Tensor) -> Tensor:
        """Latents ``(B, D, T)`` of codes ``(B, K, T)`` of the first K layers."""
        self.check_count(codes.shape[1])
        return self.prepare_decode()(codes)

    def bits(self, num_codebooks: int | None = None) -> int:
        """Bits of a frame's codes when each takes a whole number of them."""
        return sum(bits_per_code(size) for size in self.sizes[: self.check_count(num_codebooks)])

    def check_count(self, num_codebooks: int | None) -> int:
        """``num_codebooks``, or all when ``None``.

        Raises:
            CodecError: when the model has no such number of codebooks.
        """
        available = self.num_codebooks
        return available if num_codebooks is None else codebook_count(num_codebooks, available, "this model has")

    def check_codes(self, codes: Tensor, lowest: int = 0) -> None:
        """Raise a :class:`CodecError` unless codes ``(B, K, T)`` lie in their layers' codebooks.

        Args:
            lowest: :data:`ABSENT` where codes may be left out.
        """
        self.check_count(codes.shape[1])
        if not codes.numel():
            return
        uniform = len(set(self.sizes)) == 1
        groups = [codes] if uniform else codes.unbind(1)
        for layer, (part, size) in enumerate(zip(groups, self.sizes, strict=False)):
            low, high = (int(limit) for limit in part.aminmax())
            if low < lowest or high >= size:
                where = "codes" if uniform else f"codes of layer {layer + 1}"
                raise CodecError(f"{where} must lie in 0..{size - 1}; the tokens are damaged")


_QUANTIZERS: Registry[type[Quantizer]] = Registry("quantizer")


def quantizer(name: str) -> Callable[[type[Quantizer]], type[Quantizer]]:
    """Class decorator: register a :class:`Quantizer` under ``name``, which is its config's ``type``."""
    return _QUANTIZERS.register(name)


def quantizer_class(name: str) -> type[Quantizer]:
    """A registered quantizer.

    Raises:
        CodecError: for a name that nobody registered.
    """
    return _QUANTIZERS.find(name)


def read_quantizer_config(values: dict[str, Any]) -> QuantizerConfig:
    """A config from plain data, whose ``type`` names the quantizer; ``rvq`` by default.

    Raises:
        CodecError: for an unknown quantizer, or a setting that it does not have.
    """
    return from_dict(quantizer_class(values.get("type", "rvq")).Config, values, "quantizer")


def quantizer_config_to_dict(config: QuantizerConfig) -> dict[str, Any]:
    """Inverse of :func:`read_quantizer_config`; what older versions do not know appears only when it is used."""
    named = {} if config.type == "rvq" else {"type": config.type}
    kept = {*changed_settings(config), *config.always_saved}
    return named | {name: value for name, value in to_dict(config).items() if name in kept}


def changed_settings(config: Any) -> dict[str, Any]:
    """The settings of a config dataclass that are not at their defaults."""
    defaults = {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(config)
    }
    return {name: getattr(config, name) for name in defaults if getattr(config, name) != defaults[name]}


def codebook_count(value: Any, available: int, whose: str) -> int:
    """``value`` as a number of codebooks, 1 to ``available``.

    Args:
        whose: the beginning of a sentence for messages, such as "this model has".

    Raises:
        CodecError: for another number, or what is no whole number.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise CodecError(f"num_codebooks {value!r}; give a whole number, 1 to {available}")
    if not 1 <= value <= available:
        raise CodecError(f"{value} codebooks requested; {whose} 1 to {available}")
    return operator.index(value)


def bits_per_code(codebook_size: int) -> int:
    """``ceil(log2(codebook_size))``, at least 1."""
    return max(1, (codebook_size - 1).bit_length())
