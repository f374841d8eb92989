"""The original implementations that imported models are compared with, small and random."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

import codec
from codec.errors import CodecError
from codec.importing import import_checkpoint
from codec.importing.originals import Original, speechtokenizer_class

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
    """The class of the package of that name."""
    try:
        cls = speechtokenizer_class()
    except CodecError as error:
        pytest.skip(str(error))
    torch.manual_seed(0)
    model = cls(SPEECHTOKENIZER | changes).eval()
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
    import transformers
    from transformers import MimiConfig, MimiModel

    if int(transformers.__version__.split(".")[0]) < 5:
        pytest.skip("Mimi of transformers 4 has other modules, and other codes for clips beyond its window")

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


def imported(folder: Path, original: nn.Module) -> codec.Codec:
    """What ``codec import`` makes of a model of transformers."""
    original.save_pretrained(folder / "original")
    return import_checkpoint(folder / "original").model


@torch.inference_mode()
def check_equal(model: codec.Codec, original: Original, lengths: Iterable[int], **options: bool) -> None:
    """Codes are those of the original, and audio up to rounding, for clips of these lengths.

    Where the original makes fewer samples than its frames hold, ours are zeros.
    """
    for samples in lengths:
        wav = noise(1, samples, seed=samples)
        tokens = model.encode(wav, **options)
        codes = original.codes(wav)
        assert torch.equal(tokens.codes, codes), samples
        expected = original.decode(codes).reshape(1, -1)[:, :samples].clamp(-1, 1)
        audio = model.decode(tokens, **options)
        assert audio.shape == wav.shape
        torch.testing.assert_close(audio[:, : expected.shape[1]], expected, atol=1e-5, rtol=0)
        assert not audio[:, expected.shape[1] :].any()


def check_padded_batch(model: codec.Codec, lengths: Iterable[int]) -> None:
    """Clips padded to one batch have the codes and the audio of each alone."""
    wavs = [noise(samples, seed=samples) for samples in lengths]
    tokens = model.encode(wavs)
    audio = model.decode(tokens)
    for index, wav in enumerate(wavs):
        alone = model.encode(wav)
        assert torch.equal(tokens[index].codes, alone.codes)
        torch.testing.assert_close(audio[index, : len(wav)], model.decode(alone)[0], atol=5e-6, rtol=0)


def check_streams(model: codec.Codec, data: st.DataObject, samples: int) -> None:
    """A stream in any pieces has the codes and the audio of the whole clip."""
    deterministic = data.draw(st.booleans())
    wav = noise(1, samples, seed=samples)
    whole = model.encode(wav, deterministic=deterministic)
    encoder = model.streaming_encoder(deterministic=deterministic)
    codes = torch.cat([*(encoder.push(wav[:, a:b]) for a, b in _cuts(data, samples)), encoder.flush()], dim=2)
    assert torch.equal(codes, whole.codes)
    decoder, frames, parts = model.streaming_decoder(deterministic=deterministic), codes.shape[2], []
    known = data.draw(st.booleans())
    for a, b in _cuts(data, frames):
        parts.append(decoder.push(codes[:, :, a:b], num_samples=samples if known and a < b == frames else None))
    audio = torch.cat([*parts, decoder.flush()], dim=1)[:, :samples]
    torch.testing.assert_close(audio, model.decode(whole), atol=5e-6, rtol=0)


def _cuts(data: st.DataObject, length: int) -> list[tuple[int, int]]:
    """The pieces, some of them empty, that a drawn list of cuts makes of a length."""
    cuts = sorted(data.draw(st.lists(st.integers(0, length), max_size=6)))
    return list(zip([0, *cuts], [*cuts, length], strict=True))
