"""Audio-seconds per second of training: steps of our configurations, and of the paper's.

All run here and now, on noise, without teachers' features (distillation costs a matrix product):
``default_refine`` is the spectral model with its losses, ``adversarial`` has two discriminators as well, ``dm_codec``
is SEANet with LSTMs, MPD, MSD and MS-STFT discriminators, LSGAN and unnormalised feature matching.
``memory`` is the peak of the process (CPU) or device (CUDA) so far. The last lines are ratios to the paper's.
"""

import resource
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from codec.cli.recipe import run_recipe
from codec.data.batch import Batch
from codec.model.codec import Codec
from codec.settings import read_config
from codec.train.build import build_step
from codec.train.config import TrainConfig
from codec.train.tasks.base import make_accelerator

CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class BenchConfig:
    """Settings of the measurement."""

    configs: tuple[str, ...] = tuple(
        str(CONFIGS / f"{name}.yaml") for name in ("default_refine", "adversarial", "dm_codec")
    )
    """Training configs; speeds are compared with the last."""
    batch_size: int | None = 2
    """Batch size of every config, small enough for a CPU's memory; null takes each config's own (for a GPU)."""
    precisions: dict[str, str] = field(default_factory=dict)
    """Precision by config name, in place of the config's."""
    compile: bool = False
    """torch.compile the first config."""
    cuda_graphs: bool = True
    """Record the steps, where there is a GPU."""
    steps: int = 5
    warmup: int = 2
    threads: int | None = None


@dataclass(frozen=True)
class Speed:
    """One measurement.

    Attributes:
        name: of the config.
        precision: of its networks.
        parameters: millions, of generator and discriminators.
        audio_seconds: of audio per second of computing.
        memory: GiB.
    """

    name: str
    precision: str
    parameters: float
    audio_seconds: float
    memory: float


def main(config: BenchConfig) -> int:
    """Measure each config and print the table."""
    speeds = [measure(config, path, config.compile and not i) for i, path in enumerate(config.configs)]
    table = Table("config", "precision", "parameters", "audio-seconds / second", "memory (GiB)")
    for speed in speeds:
        table.add_row(
            speed.name,
            speed.precision,
            f"{speed.parameters:.1f} M",
            f"{speed.audio_seconds:.2f}",
            f"{speed.memory:.1f}",
        )
    Console().print(table)
    for speed in speeds[:-1]:
        print(f"{speed.name} / {speeds[-1].name}: {speed.audio_seconds / speeds[-1].audio_seconds:.1f}")
    return 0


def measure(config: BenchConfig, path: str, compiled: bool) -> Speed:
    """Steps with discriminators and quantizer at work, from the first."""
    train = read_config(TrainConfig, path)
    losses = {name: options for name, options in train.losses.items() if not name.startswith("distill_")}
    size = config.batch_size or train.data.batch_size
    name = Path(path).stem
    train = replace(
        train,
        losses=losses,
        teachers={},
        data=replace(train.data, batch_size=size),
        adversary=replace(train.adversary, start_step=0),
        quantizer=replace(train.quantizer, init_steps=0, kmeans_iterations=1),
        precision=config.precisions.get(name, train.precision),
        threads=config.threads,
        compile=compiled,
        # The paper's discriminators are recorded as well where the default's are: nothing but the models differs.
        cuda_graphs=torch.cuda.is_available() and config.cuda_graphs,
        tracker="none",
    )
    if train.threads is not None:
        torch.set_num_threads(train.threads)
    accelerator = make_accelerator(train)
    device = accelerator.device
    codec = Codec(train.model)
    state, step = build_step(train, codec, {}, accelerator)
    frames = train.data.crop_frames
    wav = 0.1 * torch.randn(size, frames * codec.hop_length, device=device)
    batch = Batch(wav, torch.ones(size, frames, dtype=torch.bool, device=device))
    for number in range(config.warmup):
        step(batch, number)
    synchronize(device)
    started = time.perf_counter()
    for number in range(config.warmup, config.warmup + config.steps):
        step(batch, number)
    synchronize(device)
    seconds = (time.perf_counter() - started) / config.steps
    modules = (state.generator, state.discriminators)
    parameters = sum(p.numel() for module in modules if module is not None for p in module.parameters())
    audio = size * frames * codec.hop_length / codec.sample_rate
    return Speed(name, train.precision, parameters / 1e6, audio / seconds, peak_memory(device))


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> float:
    """GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


if __name__ == "__main__":
    sys.exit(run_recipe(BenchConfig, main, __doc__))
