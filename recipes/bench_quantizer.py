"""Why the quantizer's training is our own: speed and repeatability against vector-quantize-pytorch.

Both quantize the same latents with the same sizes in the same process, taking turns; the figure is the
ratio of median times. Repeatability: two runs from one state with the global random generator in
another place, as after a resume, must give the same codebooks.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from vector_quantize_pytorch import ResidualVQ as LibraryRVQ

from codec.cli.recipe import run_recipe
from codec.quantizers.rvq import ResidualConfig, ResidualVQ
from codec.train.quantizers import EMAResidualVQ, QuantizerTrainingConfig


@dataclass(frozen=True)
class BenchConfig:
    """Sizes of the comparison."""

    batch: int = 16
    frames: int = 64
    dim: int = 64
    codebooks: int = 8
    codebook_size: int = 1024
    steps: int = 20
    threads: int = 2


def make_ours(config: BenchConfig) -> Callable[[Tensor, int], Tensor]:
    """Our quantizer as ``(latent (B, D, T), step) -> codebooks``."""
    torch.manual_seed(0)
    rvq = ResidualVQ(ResidualConfig(config.codebooks, config.codebook_size), config.dim)
    trainer = EMAResidualVQ(rvq, QuantizerTrainingConfig(init_steps=0))

    def step(latent: Tensor, number: int) -> Tensor:
        trainer(latent, torch.ones(latent.shape[0], latent.shape[2], dtype=torch.bool), number)
        return rvq.codebooks

    return step


def make_library(config: BenchConfig) -> Callable[[Tensor, int], Tensor]:
    """The library's quantizer with the same dynamics."""
    torch.manual_seed(0)
    rvq = LibraryRVQ(
        dim=config.dim,
        num_quantizers=config.codebooks,
        codebook_size=config.codebook_size,
        decay=0.99,
        kmeans_init=True,
        kmeans_iters=10,
        threshold_ema_dead_code=0.1,
        quantize_dropout=True,
    )

    def step(latent: Tensor, _number: int) -> Tensor:
        rvq(latent.transpose(1, 2))
        return rvq.codebooks

    return step


def latents(config: BenchConfig, step: int) -> Tensor:
    """``(B, D, T)`` of a step, drawn from its own generator."""
    generator = torch.Generator().manual_seed(step)
    return torch.randn(config.batch, config.dim, config.frames, generator=generator)


def repeats(make: Callable[[BenchConfig], Callable[[Tensor, int], Tensor]], config: BenchConfig) -> bool:
    """Whether codebooks are bit-equal when the global generator differs after the first step."""
    results = []
    for seed in (1, 2):
        step = make(config)
        step(latents(config, 0), 0)
        torch.manual_seed(seed)
        for number in range(1, 6):
            codebooks = step(latents(config, number), number)
        results.append(codebooks.clone())
    return torch.equal(*results)


def main(config: BenchConfig) -> None:
    """Print medians, their ratio, and whether each repeats."""
    torch.set_num_threads(config.threads)
    makers = {"ours": make_ours, "vector-quantize-pytorch": make_library}
    steps = {name: make(config) for name, make in makers.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(config.steps + 1):
        latent = latents(config, number)
        for name, step in steps.items():
            started = time.perf_counter()
            step(latent, number)
            times[name].append(time.perf_counter() - started)
    # The first step holds the k-means initialisation.
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    for name, median in medians.items():
        print(
            f"{name}: {1000 * median:.1f} ms per step, k-means {times[name][0]:.2f} s, "
            f"repeats after a resume: {'yes' if repeats(makers[name], config) else 'no'}"
        )
    print(f"ratio: {medians['vector-quantize-pytorch'] / medians['ours']:.2f}")


if __name__ == "__main__":
    sys.exit(run_recipe(BenchConfig, main, __doc__))
