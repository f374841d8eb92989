"""The original implementations of models that can be imported, random, behind one interface."""

import copy
import importlib
import importlib.machinery
import json
import sys
import types
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from codec.bench.systems import build_baseline
from codec.errors import CodecError
from codec.registry import Registry

Encode = Callable[[Tensor], Tensor]
SPEECHTOKENIZER: dict[str, Any] = {
    "n_filters": 64,
    "strides": [8, 5, 4, 2],
    "dimension": 1024,
    "semantic_dimension": 768,
    "bidirectional": True,
    "dilation_base": 2,
    "residual_kernel_size": 3,
    "n_residual_layers": 1,
    "lstm_layers": 2,
    "activation": "ELU",
    "sample_rate": 16_000,
    "n_q": 8,
    "codebook_size": 1024,
}
"""The published sizes, by the names of its config."""


class Original(ABC):
    """A network in the class that its project publishes.

    Attributes:
        project: where the class is from.
        network: random, in eval mode.
    """

    project = "transformers"

    def __init__(self, network: Any):
        self.network = network.eval().requires_grad_(False)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return int(self.network.config.sampling_rate)

    def quantizers(self) -> list[tuple[list[Any], Encode]]:
        """Codebooks of each residual quantizer, and what makes its latents ``(1, D, F)`` of ``wav (1, 1, T)``."""
        return []

    @abstractmethod
    def codes(self, wav: Tensor) -> Tensor:
        """``(1, K, F)`` of ``wav (1, T)``."""

    def exact(self) -> Self:
        """The same network in float64, for ``wav`` in float64: what all its implementations round."""
        other = copy.copy(self)
        other.network = copy.deepcopy(self.network).double()
        return other

    def decode(self, codes: Tensor) -> Tensor:
        """Audio of codes ``(1, K, F)``."""
        return self.network.decode(audio_codes=codes).audio_values

    def step(self, samples: int) -> Callable[[Tensor], None] | None:
        """Codes and decodes the next frame ``(1, samples)`` of a stream; ``None`` where it cannot stream."""
        return None

    def save(self, folder: Path) -> None:
        """In the published form."""
        self.network.save_pretrained(folder)


class EncodecOriginal(Original):
    """EnCodec of transformers, at its highest bandwidth."""

    def quantizers(self) -> list[tuple[list[Any], Encode]]:
        return [([layer.codebook for layer in self.network.quantizer.layers], self.network.encoder)]

    def codes(self, wav: Tensor) -> Tensor:
        bandwidth = self.network.config.target_bandwidths[-1]
        return self.network.encode(wav.unsqueeze(1), bandwidth=bandwidth).audio_codes[0]

    def decode(self, codes: Tensor) -> Tensor:
        return self.network.decode(codes[None], [None]).audio_values


class MimiOriginal(Original):
    """Mimi of transformers."""

    def quantizers(self) -> list[tuple[list[Any], Encode]]:
        both = self.network.quantizer
        sides = (both.semantic_residual_vector_quantizer, both.acoustic_residual_vector_quantizer)
        return [([layer.codebook for layer in side.layers], partial(self._latents, side)) for side in sides]

    def _latents(self, side: Any, wav: Tensor) -> Tensor:
        return side.input_proj(self.network.encoder(wav).latents)

    def codes(self, wav: Tensor) -> Tensor:
        return self.network.encode(wav.unsqueeze(1)).audio_codes

    def exact(self) -> Self:
        """Distances too: its own are in float32, whatever the network is in. Its rotary angles stay so."""
        other = super().exact()
        for book in (book for books, _ in other.quantizers() for book in books):
            book._embed = None
            book.quantize = lambda vectors, book=book: torch.cdist(vectors, book.embed).argmin(dim=-1)
        return other

    def step(self, samples: int) -> Callable[[Tensor], None]:
        encoder: dict[str, Any] = {}
        decoder: dict[str, Any] = {}

        def step(wav: Tensor) -> None:
            made = self.network.encode(wav.unsqueeze(1), use_streaming=True, **encoder)
            encoder["encoder_past_key_values"] = made.encoder_past_key_values
            encoder["padding_cache"] = made.padding_cache
            decoded = self.network.decode(made.audio_codes, use_cache=True, **decoder)
            decoder["decoder_past_key_values"] = decoded.decoder_past_key_values

        return step


class DacOriginal(Original):
    """DAC of transformers."""

    def codes(self, wav: Tensor) -> Tensor:
        # As its feature extractor does.
        padded = nn.functional.pad(wav, (0, -wav.shape[1] % self.network.config.hop_length))
        return self.network.encode(padded.unsqueeze(1)).audio_codes


class SpeechTokenizerOriginal(Original):
    """SpeechTokenizer of the package of that name, whose network DM-Codec has too."""

    project = "speechtokenizer"

    @property
    def sample_rate(self) -> int:
        return int(self.network.sample_rate)

    def quantizers(self) -> list[tuple[list[Any], Encode]]:
        return [([layer._codebook for layer in self.network.quantizer.vq.layers], self.network.encoder)]

    def codes(self, wav: Tensor) -> Tensor:
        return self.network.encode(wav.unsqueeze(1)).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        return self.network.decode(codes.transpose(0, 1))

    def save(self, folder: Path) -> None:
        torch.save(self.network.state_dict(), folder / "SpeechTokenizer.pt")
        (folder / "config.json").write_text(json.dumps(SPEECHTOKENIZER), encoding="utf-8")


def speechtokenizer_class() -> Any:
    """``SpeechTokenizer`` of the package of that name, of which its ``__init__`` would import a whole trainer.

    Raises:
        CodecError: where it is not installed.
    """
    name = "speechtokenizer"
    found = importlib.machinery.PathFinder.find_spec(name)
    if found is None:
        raise CodecError("the original of SpeechTokenizer needs its package: pip install --no-deps speechtokenizer")
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = list(found.submodule_search_locations or ())
        sys.modules[name] = package
    return importlib.import_module(f"{name}.model").SpeechTokenizer


def _speechtokenizer() -> Original:
    network = speechtokenizer_class()
    with warnings.catch_warnings():
        # Its weight norm is PyTorch's old one.
        warnings.simplefilter("ignore")
        return SpeechTokenizerOriginal(network(SPEECHTOKENIZER))


ORIGINALS: Registry[Callable[[], Original]] = Registry("original implementation")
"""By the names of the baselines of ``codec bench``; each makes a network of the released size."""
ORIGINALS.register("encodec")(lambda: EncodecOriginal(build_baseline("encodec")))
ORIGINALS.register("mimi")(lambda: MimiOriginal(build_baseline("mimi")))
ORIGINALS.register("dac")(lambda: DacOriginal(build_baseline("dac")))
ORIGINALS.register("dm-codec")(_speechtokenizer)


def enliven(original: Original, wav: Tensor) -> None:
    """Weights that keep the signal's level, and codebooks of what they quantize: else all codes are one.

    Args:
        wav: ``(T,)`` of speech at its rate.
    """
    generator = torch.Generator().manual_seed(0)
    for name, parameter in original.network.named_parameters():
        if name.endswith(("original0", "weight_g")):
            parameter.fill_(1.4)
        elif name.endswith("bias"):
            parameter.mul_(0.1)
        elif parameter.ndim > 1 and not name.endswith("alpha"):
            parameter.mul_(1 / (parameter[0].numel() ** 0.5 * parameter.std()))
    for books, encode in original.quantizers():
        vectors = encode(wav[None, None])[0].t()
        count = len(vectors)
        for index, book in enumerate(books):
            # Each pair of frames once, and none with itself: of two equal rows rounding would choose one.
            pairs = torch.randperm(count * (count - 1), generator=generator)[: book.codebook_size]
            first, second = pairs // (count - 1), pairs % (count - 1)
            second = second + (second >= first)
            # Of a trained quantizer the later codebooks are smaller too, as what is left for them.
            rows = (vectors[first] - vectors[second]) * 0.9**index
            (book.embed_sum if hasattr(book, "embed_sum") else book.embed).copy_(rows)
            if hasattr(book, "_embed"):
                book._embed = None  # what it made of earlier sums
            if hasattr(book, "inited"):
                book.inited.fill_(1.0)
