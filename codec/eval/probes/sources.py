"""Sources of a probe's tokens: a model, or a table of codes made by any other tokenizer."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.audio.io import load_audio
from codec.data import Clip
from codec.errors import CodecError
from codec.model.codec import Codec


class TokenSource(Protocol):
    """A tokenizer as probes see it."""

    frame_rate: float
    """Frames per second."""
    num_codebooks: int
    codebook_size: int
    """Entries of the largest codebook."""
    codebook_sizes: tuple[int, ...]
    """Entries of each of the K codebooks."""
    codebooks: Tensor | None
    """``(K, C, D)`` code vectors whose sum over layers is the latent, or None when unknown."""
    fingerprint: str
    """Equal for equal tokens; results are kept under it."""

    def codes(self, clip: Clip) -> Tensor:
        """``(K, T)`` int64, T > 0.

        Raises:
            CodecError: when this clip has no usable tokens.
        """


@runtime_checkable
class LatentSource(Protocol):
    """A source that also has what its tokens were made of."""

    def latents(self, clip: Clip) -> Tensor:
        """``(T, D)`` float32: the encoder's output for the clip's recording."""


@dataclass(frozen=True)
class View:
    """Some layers of the tokens, shown as ``one-hot`` codes or as the sum of ``vectors``; or :data:`LATENTS`."""

    num_codebooks: int
    features: str

    @property
    def codebooks(self) -> str:
        """The layers as text: ``none``, ``1`` or ``1-8``."""
        if self.num_codebooks == 0:
            return "none"
        return "1" if self.num_codebooks == 1 else f"1-{self.num_codebooks}"


LATENTS = View(0, "latents")
"""The encoder's output before quantization; only sources that have a method ``latents`` can show it."""


def views(tokens: TokenSource) -> Iterator[View]:
    """First layer and all layers, as codes and, where the codebooks are known, as vectors."""
    for num_codebooks in sorted({1, tokens.num_codebooks}):
        yield View(num_codebooks, "one-hot")
        if tokens.codebooks is not None:
            yield View(num_codebooks, "vectors")


class ModelTokens:
    """Tokens that a :class:`Codec` makes on demand, kept in memory."""

    def __init__(self, model: Codec):
        self.model = model
        self.frame_rate = model.sample_rate / model.hop_length
        self.num_codebooks = model.num_codebooks
        self.codebook_size, self.codebook_sizes = max(model.quantizer.sizes), tuple(model.quantizer.sizes)
        vectors = model.quantizer.vectors()
        self.codebooks: Tensor | None = None
        if vectors:
            padded = torch.nn.utils.rnn.pad_sequence(vectors, batch_first=True)
            self.codebooks = padded.detach().float().cpu()
        self.fingerprint = model.fingerprint
        self._codes: dict[str, Tensor] = {}

    def codes(self, clip: Clip) -> Tensor:
        """``(K, T)`` int64 of the clip's recording."""
        path = str(clip.audio)
        if path not in self._codes:
            self._codes[path] = self.model.encode(self._read(clip)).codes[0]
        return self._codes[path]

    @torch.inference_mode()
    def latents(self, clip: Clip) -> Tensor:
        """``(T, D)`` float32: the encoder's output for the clip's recording."""
        wav = self._read(clip)
        if self.model.causal:
            # An encoder that looks ahead pads the end itself.
            wav = F.pad(wav, (0, -len(wav) % self.model.hop_length))
        wav = wav.to(self.model.device)
        return self.model.encoder.whole(wav[None])[0].T.cpu()

    def _read(self, clip: Clip) -> Tensor:
        try:
            return load_audio(clip.audio, self.model.sample_rate).wav
        except (OSError, RuntimeError) as error:
            raise CodecError(f"cannot be read ({type(error).__name__})") from None


class TokenTable:
    """Given tokens, by clip name.

    Args:
        codes: ``(K, T)`` integers by :attr:`Clip.name`, all of the same K.
        frame_rate: frames per second.
        codebook_size: entries of a codebook; by default the largest code plus one.
        codebooks: ``(K, C, D)`` code vectors, where the tokenizer has such.

    Raises:
        CodecError: when the codes disagree in shape or range.
    """

    def __init__(
        self,
        codes: Mapping[str, Tensor],
        frame_rate: float,
        codebook_size: int | None = None,
        codebooks: Tensor | None = None,
    ):
        self._codes = {name: torch.as_tensor(value).long() for name, value in codes.items()}
        if not self._codes:
            raise CodecError("the table of codes is empty; give codes (K, T) by clip name")
        for name, value in self._codes.items():
            if value.ndim != 2:
                raise CodecError(f"{name}: codes must be (K, T), got shape {tuple(value.shape)}")
        layers = {value.shape[0] for value in self._codes.values()}
        if len(layers) > 1:
            raise CodecError(f"clips have {sorted(layers)} codebooks; give the same layers of all")
        largest = max(int(value.max()) for value in self._codes.values() if value.numel())
        smallest = min(int(value.min()) for value in self._codes.values() if value.numel())
        self.codebook_size = codebook_size or largest + 1
        if smallest < 0 or largest >= self.codebook_size:
            raise CodecError(f"codes lie in {smallest}..{largest}, outside 0..{self.codebook_size - 1}")
        self.num_codebooks = layers.pop()
        self.codebook_sizes = (self.codebook_size,) * self.num_codebooks
        self.frame_rate = frame_rate
        self.codebooks = codebooks
        self.fingerprint = self._hash()

    def codes(self, clip: Clip) -> Tensor:
        """``(K, T)`` int64 of the clip of that name."""
        if clip.name not in self._codes:
            raise CodecError("no tokens given")
        codes = self._codes[clip.name]
        if codes.shape[1] == 0:
            raise CodecError("no frames")
        return codes

    def _hash(self) -> str:
        digest = hashlib.sha256(repr((self.frame_rate, self.codebook_size)).encode())
        for name in sorted(self._codes):
            digest.update(name.encode() + b"\0" + self._codes[name].numpy().tobytes())
        if self.codebooks is not None:
            digest.update(self.codebooks.float().numpy().tobytes())
        return digest.hexdigest()[:16]
