"""Imported models against the original implementations, with the same weights, in one run."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from codec.bench.agreement import bundled_clip
from codec.bench.measure import seconds_of
from codec.bench.registry import benchmark
from codec.bench.systems import build_baseline, noise
from codec.bench.types import BenchConfig, Table
from codec.importing.imported import import_checkpoint
from codec.model.codec import Codec

_WARM_UP = 10
"""Frames that do not count."""
Seconds = tuple[float, float]
"""To encode, and to decode."""


@benchmark("originals")
@torch.inference_mode()
def originals(config: BenchConfig) -> Table:
    """A clip at once, frame by frame where the original can, and how many codes are equal."""
    rows = []
    for name in config.baselines:
        if name in _ORIGINALS:
            rows += _rows(name, config)
    columns = ("model", "implementation", "encode (x real time)", "decode", "ms of a frame", "equal codes (%)")
    title = f"{config.seconds:g} s clip, {config.threads} thread(s), the same random weights"
    return Table(title, columns, tuple(rows))


def _rows(name: str, config: BenchConfig) -> list[tuple[str | float, ...]]:
    network: Any = build_baseline(name).eval().requires_grad_(False)
    original = _ORIGINALS[name](network)
    _enliven(original)
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        ours = import_checkpoint(Path(folder)).model
    agreement = 100 * _agreement(ours, original)
    wav = noise(config.seconds, ours.sample_rate)
    wav = wav[:, : wav.shape[1] // ours.hop_length * ours.hop_length]
    turns = [(_clip(ours, wav), original.clip(wav)) for _ in range(config.repeats + 1)][1:]
    frames = [_frames(ours, config.frames), original.frames(ours.hop_length, config.frames)]
    rows: list[tuple[str | float, ...]] = []
    for index, who in enumerate(("codec", "transformers")):
        speeds = [config.seconds / median(turn[index][part] for turn in turns) for part in (0, 1)]
        rows.append((name, who, *speeds, frames[index] or "-", f"{agreement:.4f}"))
    return rows


def _clip(model: Codec, wav: Tensor) -> Seconds:
    made: list[Any] = []
    encode = seconds_of(lambda: made.append(model.encode(wav)), "cpu")
    return encode, seconds_of(lambda: model.decode(made[0]), "cpu")


def _frames(model: Codec, count: int) -> float | None:
    """Mean milliseconds to encode and decode a frame of a stream."""
    if not model.causal:
        return None
    encoder, decoder = model.streaming_encoder(), model.streaming_decoder()
    step = noise(model.hop_length / model.sample_rate, model.sample_rate)

    def run(frames: int) -> None:
        for _ in range(frames):
            decoder.push(encoder.push(step))

    run(_WARM_UP)
    return 1000 * seconds_of(lambda: run(count), "cpu") / count


def _agreement(model: Codec, original: "_Original") -> float:
    """Share of equal codes of the bundled clip and of its parts of odd lengths."""
    clip, equal, total = bundled_clip(model.sample_rate), 0, 0
    for start in range(0, 5_000, 1_111):
        wav = clip[start : len(clip) - 7 * start][None]
        theirs, ours = original.codes(wav), model.encode(wav).codes
        equal += int((theirs[..., : ours.shape[2]] == ours).sum())
        total += ours.numel()
    return equal / total


class _Original:
    """A model of transformers."""

    def __init__(self, network: Any):
        self.network = network

    def quantizers(self) -> list[tuple[list[Any], Callable[[Tensor], Tensor]]]:
        """Layers of each residual quantizer, and what makes its latents of ``wav (1, 1, T)``."""
        return []

    def codes(self, wav: Tensor) -> Tensor:
        """``(1, K, F)`` of ``wav (1, T)``."""
        return self.network.encode(wav.unsqueeze(1)).audio_codes

    def clip(self, wav: Tensor) -> Seconds:
        made: list[Any] = []
        encode = seconds_of(lambda: made.append(self.codes(wav)), "cpu")
        return encode, seconds_of(lambda: self.decode(made[0]), "cpu")

    def decode(self, codes: Tensor) -> Tensor:
        """Audio of codes ``(1, K, F)``."""
        return self.network.decode(audio_codes=codes).audio_values

    def frames(self, hop_length: int, count: int) -> float | None:
        """Mean milliseconds of a frame; ``None`` where it cannot stream."""
        return None


class _Encodec(_Original):
    def quantizers(self) -> list[tuple[list[Any], Callable[[Tensor], Tensor]]]:
        return [(list(self.network.quantizer.layers), self.network.encoder)]

    def codes(self, wav: Tensor) -> Tensor:
        bandwidth = self.network.config.target_bandwidths[-1]
        return self.network.encode(wav.unsqueeze(1), bandwidth=bandwidth).audio_codes[0]

    def decode(self, codes: Tensor) -> Tensor:
        return self.network.decode(codes[None], [None]).audio_values


class _Mimi(_Original):
    def quantizers(self) -> list[tuple[list[Any], Callable[[Tensor], Tensor]]]:
        both = self.network.quantizer
        sides = (both.semantic_residual_vector_quantizer, both.acoustic_residual_vector_quantizer)
        return [(list(side.layers), partial(self._latents, side)) for side in sides]

    def _latents(self, side: Any, wav: Tensor) -> Tensor:
        return side.input_proj(self.network.encoder(wav).latents)

    def frames(self, hop_length: int, count: int) -> float | None:
        step, decoder_cache = noise(1, hop_length).unsqueeze(1), None
        caches: dict[str, Any] = {}

        def run(frames: int) -> None:
            nonlocal decoder_cache
            for _ in range(frames):
                made = self.network.encode(step, use_streaming=True, **caches)
                caches["encoder_past_key_values"] = made.encoder_past_key_values
                caches["padding_cache"] = made.padding_cache
                decoded = self.network.decode(
                    made.audio_codes, decoder_past_key_values=decoder_cache, use_cache=True
                )
                decoder_cache = decoded.decoder_past_key_values

        run(_WARM_UP)
        return 1000 * seconds_of(lambda: run(count), "cpu") / count


class _Dac(_Original):
    def codes(self, wav: Tensor) -> Tensor:
        # As its feature extractor does.
        padded = nn.functional.pad(wav, (0, -wav.shape[1] % self.network.config.hop_length))
        return super().codes(padded)


_ORIGINALS: dict[str, Callable[[Any], _Original]] = {"encodec": _Encodec, "mimi": _Mimi, "dac": _Dac}


def _enliven(original: _Original) -> None:
    """Weights that keep the signal's level, and codebooks of what they quantize: else all codes are one."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in original.network.named_parameters():
        if name.endswith("original0"):
            parameter.fill_(1.4)
        elif name.endswith("bias"):
            parameter.mul_(0.1)
        elif parameter.ndim > 1 and not name.endswith("alpha"):
            parameter.mul_(1 / (parameter[0].numel() ** 0.5 * parameter.std()))
    wav = bundled_clip(original.network.config.sampling_rate)[None, None]
    for layers, encode in original.quantizers():
        vectors = encode(wav)[0].t()
        for index, layer in enumerate(layers):
            book: Any = layer.codebook
            first, second = torch.randint(len(vectors), (2, book.codebook_size), generator=generator)
            # Of a trained quantizer the later codebooks are smaller too, as what is left for them.
            rows = (vectors[first] - vectors[second]) * 0.9**index
            (book.embed_sum if hasattr(book, "embed_sum") else book.embed).copy_(rows)
