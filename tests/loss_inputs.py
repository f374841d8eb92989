"""Small inputs for the tests of losses."""

import torch
from torch import Tensor

from codec.data.batch import Batch, TeacherFrames
from codec.discriminators.registry import Judgement
from codec.train.losses.registry import LossContext
from codec.train.types import LossInput, QuantizerOutput

CONTEXT = LossContext(sample_rate=16_000, latent_dim=3, num_codebooks=4, teacher_dims={"sm": 5, "lm": 5})


def quantizer_output(latent: Tensor, num_codebooks: int = 4) -> QuantizerOutput:
    """Layers that each take half of what is left, of ``latent (B, D, T)``."""
    sums = torch.stack([latent.detach() * (1 - 0.5**k) for k in range(1, num_codebooks + 1)])
    batch, _, frames = latent.shape
    return QuantizerOutput(
        latent=latent,
        quantized=latent + (sums[-1] - latent).detach(),
        sums=sums,
        codes=torch.zeros(batch, num_codebooks, frames, dtype=torch.int64),
        commitment=(latent - sums[0]).square().mean(),
        active=torch.full((batch,), num_codebooks),
    )


def loss_input(
    real: Tensor | None = None,
    fake: Tensor | None = None,
    latent: Tensor | None = None,
    teachers: dict[str, TeacherFrames] | None = None,
    judgement: Judgement | None = None,
) -> LossInput:
    """A :class:`LossInput` in which what a test does not care about is silence and zeros."""
    latent = torch.zeros(1, 3, 2) if latent is None else latent
    real = torch.zeros(1, 640) if real is None else real
    fake = torch.zeros_like(real) if fake is None else fake
    mask = torch.ones(latent.shape[0], latent.shape[2], dtype=torch.bool)
    batch = Batch(wav=real, mask=mask, teachers=teachers or {})
    return LossInput(real, fake, batch, quantizer_output(latent), judgement)
