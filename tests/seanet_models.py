"""Tiny ``seanet`` models for the tests."""

import torch
from torch import Tensor, nn

import codec
from codec.config import from_dict
from codec.model.config import CodecConfig

TINY = {"n_filters": 2, "strides": [5, 4, 2], "latent_dim": 6, "lstm_layers": 2, "n_residual_layers": 2}
CAUSAL = TINY | {"causal": True, "lstm_layers": 0}
CAUSAL_LSTM = TINY | {"causal": True, "bidirectional": False}
HOP = 40


def make_seanet(network: dict, seed: int = 0) -> codec.Codec:
    """A tiny model that keeps the signal's level, with latents of noise as codebooks: codes vary."""
    values = {"architecture": "seanet", "network": network}
    values["quantizer"] = {"num_codebooks": 3, "codebook_size": 16}
    torch.manual_seed(seed)
    model = codec.Codec(from_dict(CodecConfig, values)).eval().requires_grad_(False)
    for name, tensor in model.state_dict().items():
        if tensor.ndim > 1 and not name.endswith("alpha"):
            tensor.normal_(std=tensor[0].numel() ** -0.5)
    residual = model.encoder(noise(1, 100 * HOP))[0][0].t()
    for layer, codebook in enumerate(model.quantizer.codebooks):
        codebook.copy_(residual[layer::6][:16])
        residual = residual - codebook[torch.cdist(residual, codebook).argmin(dim=1)]
    return model


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
