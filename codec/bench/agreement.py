"""Count codes that depend on how they are computed: in streams, batches, graphs, on a GPU or the CPU.

Rounding differs between shapes of a matrix product, and between devices. Where a residual lies just
half-way between two codes it can then go to the other one, and the residuals after it are others too.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from codec.audio.io import load_audio
from codec.bench.measure import arithmetic
from codec.bench.registry import benchmark
from codec.bench.types import BenchConfig, Table
from codec.console import counted
from codec.model.codec import Codec
from codec.model.files import load_model

Codes = list[Tensor]
"""Codes of every clip, ``(K, F)``."""

_DETERMINISTIC_CLIPS = 4
"""Codes that go through the deterministic mode, a frame of one signal at a time."""


@benchmark("agreement")
@torch.inference_mode()
def agreement(config: BenchConfig) -> Table:
    """Codes of variants of the bundled clip, computed in several ways, each compared with another."""
    model = load_model(config.model, config.device, config.engine)
    wavs = variants(bundled_clip(model.sample_rate), config.clips)
    rows = [(name, *_compare(*pair)) for name, pair in _ways(model, wavs)]
    if config.device != "cpu":
        rows += [(name, *_compare(*pair)) for name, pair in _devices(config, model, wavs)]
    columns = ("compared", "codes", "differ", "agree (%)", "first codebook (%)")
    title = f"{counted(len(wavs), 'clip')} on {config.device}, engine {model.engine.name}; {arithmetic(config.device)}"
    return Table(title, columns, tuple(rows))


def _ways(model: Codec, wavs: list[Tensor]) -> Iterator[tuple[str, tuple[Codes, Codes]]]:
    """Pairs of ways on the model's device, by name."""
    alone, hop = whole_codes(model, wavs), model.hop_length
    yield "the same twice", (whole_codes(model, wavs), alone)
    yield f"padded batch of {len(wavs)}, each clip", (batch_codes(model, wavs), alone)
    lockstep = slots_codes(model, wavs)
    yield f"stream of {len(wavs)}, whole clips", (lockstep, alone)
    rng = random.Random(0)
    pieces = [stream_codes(model, wav, False, lambda: rng.randrange(1, 64 * hop)) for wav in wavs]
    yield "stream of 1 in random pieces, whole clips", (pieces, alone)
    few = wavs[:_DETERMINISTIC_CLIPS]
    single = [stream_codes(model, wav, False, lambda: hop) for wav in few]
    yield "stream of 1, whole clips", (single, alone[: len(few)])
    streamed = [stream_codes(model, wav, True, lambda: hop) for wav in few]
    exact = [model.encode(wav, deterministic=True).codes[0] for wav in few]
    yield "deterministic: stream of 1, whole clips", (streamed, exact)
    if model.device.type == "cuda":
        from codec.engines.graph import GraphEngine

        engine, model.engine = model.engine, GraphEngine(model)
        yield f"CUDA graph, stream of {len(wavs)}", (slots_codes(model, wavs), lockstep)
        model.engine = engine


def _devices(
    config: BenchConfig, model: Codec, wavs: list[Tensor]
) -> Iterator[tuple[str, tuple[Codes, Codes]]]:
    """The device against the CPU, in each arithmetic of the device."""
    expected = whole_codes(load_model(config.model, "cpu", "torch"), wavs)
    yield f"{config.device}, CPU", (whole_codes(model, wavs), expected)
    if config.device == "cuda":
        for name, products, convolutions in (("float32", "highest", False), ("tf32", "high", True)):
            with _arithmetic(products, convolutions):
                yield f"cuda, all in {name}; CPU", (whole_codes(model, wavs), expected)


@contextmanager
def _arithmetic(products: str, convolutions: bool) -> Iterator[None]:
    """Set the precision in which CUDA computes float32 inside the block."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def _compare(codes: Codes, expected: Codes) -> tuple[int, int, str, str]:
    """Number of codes, number that differ, and percentages that agree: of all, of the first codebook."""
    equal = torch.cat([a == b for a, b in zip(codes, expected, strict=True)], dim=1)
    shares = (100 * part.double().mean().item() for part in (equal, equal[0]))
    everywhere, first = (f"{share:.4f}" for share in shares)
    return equal.numel(), int((~equal).sum()), everywhere, first


def bundled_clip(sample_rate: int) -> Tensor:
    """``(T,)`` of speech that comes with the package."""
    with as_file(files("codec") / "assets" / "speech.flac") as path:
        return load_audio(path, sample_rate).wav


def variants(wav: Tensor, count: int) -> list[Tensor]:
    """Other clips made of ``wav (T,)``: faster or slower, louder or softer, cut, with noise of 10 to 50 dB."""
    rng, generator = random.Random(0), torch.Generator().manual_seed(0)
    clips = []
    for _ in range(count):
        size = round(len(wav) / rng.uniform(1.0, 1.2))
        clip = F.interpolate(wav[None, None], size=size, mode="linear")[0, 0][rng.randrange(1000) :]
        noise = torch.randn(len(clip), generator=generator) * clip.std() * 10 ** (-rng.uniform(10, 50) / 20)
        clips.append(((clip + noise) * 10 ** (rng.uniform(-20, 6) / 20)).clamp(-1.0, 1.0))
    return clips


def whole_codes(model: Codec, wavs: list[Tensor]) -> Codes:
    """Codes of clips one by one."""
    return [model.encode(wav).codes[0] for wav in wavs]


def batch_codes(model: Codec, wavs: list[Tensor]) -> Codes:
    """Codes of clips padded to one length."""
    lengths = torch.tensor([len(wav) for wav in wavs])
    tokens = model.encode(pad_sequence(wavs, batch_first=True), lengths=lengths)
    return [tokens[index].codes[0] for index in range(len(wavs))]


def slots_codes(model: Codec, wavs: list[Tensor]) -> Codes:
    """Codes of clips side by side in one stream, pushed frame by frame."""
    encoder, hop = model.streaming_encoder(len(wavs)), model.hop_length
    padded = pad_sequence(wavs, batch_first=True)
    codes: list[list[Tensor]] = [[] for _ in wavs]
    for start in range(0, padded.shape[1], hop):
        lengths = [min(max(len(wav) - start, 0), hop) for wav in wavs]
        piece = encoder.push(padded[:, start : start + hop], lengths)
        for clip, new, count in zip(codes, piece, encoder.lengths.tolist(), strict=True):
            clip.append(new[:, :count])
    tails = zip(codes, encoder.flush(), encoder.lengths.tolist(), strict=True)
    return [torch.cat([*clip, tail[:, :count]], dim=1) for clip, tail, count in tails]


def stream_codes(model: Codec, wav: Tensor, deterministic: bool, sizes: Callable[[], int]) -> Tensor:
    """Codes ``(K, F)`` of ``wav (T,)`` pushed in pieces of these numbers of samples."""
    encoder = model.streaming_encoder(deterministic=deterministic)
    codes, start = [], 0
    while start < len(wav):
        size = sizes()
        codes.append(encoder.push(wav[start : start + size])[0])
        start += size
    return torch.cat([*codes, encoder.flush()[0]], dim=1)
