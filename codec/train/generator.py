"""The part that is trained by reconstruction: the model with the training side of its quantizer."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.errors import CodecError
from codec.model.codec import Codec
from codec.train.quantizers import QuantizerTrainingConfig, train_quantizer
from codec.train.types import QuantizerOutput


@dataclass
class Generated:
    """The outputs of one pass through the generator.

    Attributes:
        fake: ``(B, T)`` float32, aligned with the input and as long.
        quantizer: the quantizer's output.
    """

    fake: Tensor
    quantizer: QuantizerOutput


class Generator(nn.Module):
    """Waveform to waveform through the quantizer, as :mod:`codec.model.chunked` does it.

    A crop is treated as a whole clip: encoder and decoder start from the state of silence, frames after
    its end are zero latents, and the decoder is flushed by ``delay`` samples of them.
    """

    def __init__(self, codec: Codec, config: QuantizerTrainingConfig, dtype: torch.dtype = torch.float32):
        """
        Args:
            codec: trained in place.
            config: of the quantizer's training.
            dtype: of the networks' matrix products; the quantizer always works in float32.
        """
        super().__init__()
        self.codec = codec
        self.quantizer = train_quantizer(codec.quantizer, config)
        self.dtype = dtype
        self._frozen: tuple[str, ...] = ()

    def forward(
        self, wav: Tensor, mask: Tensor, step: int, active: Tensor | None = None, decode: bool = True
    ) -> Generated:
        """``wav (B, T)`` of whole frames, ``mask (B, F)`` bool, and the step for random draws.

        ``active (B,)`` are the layers that each clip is decoded from; drawn by default. Without ``decode`` the
        output's audio has no samples.
        """
        latent = self._encode(wav)
        quantized = self.quantizer(latent.float(), mask, step, active)
        if not decode:
            return Generated(wav.new_zeros(len(wav), 0), quantized)
        delay = self.codec.decoder.delay
        inside = quantized.quantized * mask.unsqueeze(1)
        flushed = F.pad(inside, (0, delay // self.codec.hop_length))
        decoder = self.codec.decoder
        crop_start = getattr(decoder, "crop_start", None)
        start = crop_start(wav) if crop_start is not None else None
        with self.autocast(wav.device):
            fake, _ = decoder(flushed, start)
        return Generated(fake[:, delay:].float(), quantized)

    def freeze(self, parts: tuple[str, ...], weights: Sequence[str] = ()) -> None:
        """Keep ``encoder``, ``quantizer`` or ``decoder`` as they are: no gradients, no moving averages.

        A frozen encoder works in float32, so that the decoder learns from the codes that users get.

        Args:
            weights: patterns of other weights to keep.

        Raises:
            CodecError: for a pattern that no weight fits.
        """
        self._frozen = parts
        named = dict(self.codec.named_parameters())
        for pattern in weights:
            found = fnmatch.filter(named, pattern)
            if not found:
                raise CodecError(
                    f"config freeze_weights: no weight fits {pattern!r}; a name is {next(iter(named))}"
                )
            for name in found:
                named[name].requires_grad_(False)
        for part in parts:
            self.codec.get_submodule(part).requires_grad_(False).eval()
        if "quantizer" in parts:
            self.quantizer.freeze()

    def train(self, mode: bool = True) -> Self:
        """Set the mode as usual, but keep frozen parts in eval mode."""
        super().train(mode)
        for part in self._frozen:
            self.codec.get_submodule(part).eval()
        return self

    def _encode(self, wav: Tensor) -> Tensor:
        """Latents ``(B, D, F)``."""
        if "encoder" in self._frozen:
            with torch.no_grad(), torch.autocast(wav.device.type, enabled=False):
                return self.codec.encoder.whole(wav)
        with self.autocast(wav.device):
            return self.codec.encoder.whole(wav)

    def autocast(self, device: torch.device) -> torch.autocast:
        """Mixed precision around the networks, off for float32."""
        mixed = self.dtype is not torch.float32
        return torch.autocast(device.type, dtype=self.dtype if mixed else None, enabled=mixed)

    def compile_networks(self) -> None:
        """Compile encoder and decoder; the quantizer branches on its state and stays as it is."""
        self.codec.encoder.compile()
        self.codec.decoder.compile()
