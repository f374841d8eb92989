"""The original implementations that imported models are compared with, small and random."""

import importlib
import importlib.machinery
import json
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

SPEECHTOKENIZER = {
    "n_filters": 2,
    "strides": [5, 4, 2],
    "dimension": 6,
    "semantic_dimension": 5,
    "bidirectional": True,
    "dilation_base": 2,
    "residual_kernel_size": 3,
    "n_residual_layers": 1,
    "lstm_layers": 2,
    "activation": "ELU",
    "sample_rate": 16_000,
    "n_q": 3,
    "codebook_size": 16,
    # What the model does not read.
    "segment_size": 48_000,
    "hop_size": 240,
}


def speechtokenizer(**changes: object) -> nn.Module:
    """The class of the package of that name, of which its ``__init__`` would import a whole trainer."""
    found = importlib.machinery.PathFinder.find_spec("speechtokenizer")
    if found is None:
        pytest.skip("needs the package speechtokenizer (requirements-metrics.txt)")
    if "speechtokenizer" not in sys.modules:
        package = types.ModuleType("speechtokenizer")
        package.__path__ = list(found.submodule_search_locations)
        sys.modules["speechtokenizer"] = package
    torch.manual_seed(0)
    model = importlib.import_module("speechtokenizer.model").SpeechTokenizer(SPEECHTOKENIZER | changes).eval()
    return lively(model, [layer._codebook for layer in model.quantizer.vq.layers])


@torch.no_grad()
def lively(model: nn.Module, codebooks: list[nn.Module], encode=lambda model, wav: model.encoder(wav)) -> nn.Module:
    """Layers that keep the signal's level, and codebooks of the size of what they quantize: codes vary."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "alpha")):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        elif name.endswith(("weight_g", "weight.original0")):
            parameter.copy_(1 + 0.2 * torch.randn(parameter.shape, generator=generator))
    residual = encode(model, noise(1, 1, 6000))[0].t()
    for layer, codebook in enumerate(codebooks):
        size = codebook.embed.shape[0]
        codebook.embed.copy_(residual[torch.randperm(len(residual), generator=generator)[:size]] * 0.9**layer)
        residual = residual - codebook.embed[torch.cdist(residual, codebook.embed).argmin(dim=1)]
        if hasattr(codebook, "inited"):
            codebook.inited.fill_(1.0)
    return model


def encodec(**changes: object) -> nn.Module:
    """The 24 kHz model's class, with all that makes it special."""
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    small = {"num_filters": 2, "upsampling_ratios": [5, 4, 2], "hidden_size": 6, "codebook_size": 16}
    # 600 frames of 4 bits a second, for 3 codebooks.
    config = EncodecConfig(**small | {"target_bandwidths": [2.4, 4.8, 7.2]} | changes)
    model = EncodecModel(config).eval()
    return lively(model, [layer.codebook for layer in model.quantizer.layers])


def mimi(**changes: object) -> nn.Module:
    """Mimi's class, with a window that clips of a test are longer than, and layer scales that matter."""
    from transformers import MimiConfig, MimiModel

    torch.manual_seed(0)
    small = {"num_filters": 4, "upsampling_ratios": [5, 2], "hidden_size": 16, "codebook_size": 16}
    small |= {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 24}
    small |= {"codebook_dim": 6, "vector_quantization_hidden_dimension": 6, "num_quantizers": 4}
    config = MimiConfig(**small | {"upsample_groups": 16, "sliding_window": 7} | changes)
    model = MimiModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer_scale" in name:
                parameter.uniform_(0.2, 0.6)
            elif parameter.ndim > 1:
                parameter.mul_(1.5 / (parameter[0].numel() ** 0.5 * parameter.std()))
    for side in (model.quantizer.semantic_residual_vector_quantizer, model.quantizer.acoustic_residual_vector_quantizer):
        latents = side.input_proj(model.encoder(noise(1, 1, 6000)).latents).detach()
        for layer in side.layers:
            book = layer.codebook
            book.cluster_usage.uniform_(0.5, 3)
            book.embed_sum.copy_(latents[0].t()[torch.randperm(latents.shape[2])[:16]] * book.cluster_usage[:, None])
            latents = latents - layer.decode(layer.encode(latents))
    with torch.no_grad():
        sound = model(noise(1, 1, 6000)).audio_values
        for parameter in model.decoder.decoder_seanet.layers[-1].parameters():
            parameter.mul_(0.2 / sound.std())
    return model


def dac(**changes: object) -> nn.Module:
    """DAC's class, as published: without weight norm."""
    from transformers import DacConfig, DacModel

    torch.manual_seed(0)
    small = {"encoder_hidden_size": 2, "downsampling_ratios": [2, 5, 4], "decoder_hidden_size": 16}
    config = DacConfig(**small | {"n_codebooks": 3, "codebook_size": 16, "codebook_dim": 4} | changes)
    model = DacModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("alpha", "bias")):
                parameter.add_(0.1 * torch.randn(parameter.shape))
            elif parameter.ndim == 3:
                level = 0.3 if name.endswith("conv2.weight") else 1.1
                parameter.mul_(level / (parameter[0].numel() ** 0.5 * parameter.std()))
            else:
                parameter.normal_()
        model.decoder.tanh = nn.Identity()
        sound = model(noise(1, 1, 6000)).audio_values
        model.decoder.tanh = nn.Tanh()
        for parameter in model.decoder.conv2.parameters():
            parameter.mul_(0.3 / sound.std())
    return model


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def write(folder: Path, tensors: object, config: dict | None, name: str = "SpeechTokenizer.pt") -> Path:
    """A checkpoint of ``torch.save`` with its config beside it."""
    folder.mkdir(exist_ok=True, parents=True)
    torch.save(tensors, folder / name)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
