"""Build the parts of a run from a config, each checked before the first step."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import nn

from codec.data.crops import CropPlanner
from codec.data.loading.batches import CropBatches
from codec.data.loading.source import open_audio, open_features, training_clips
from codec.data.store import AudioStore
from codec.discriminators.container import Discriminators
from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.seanet.weight_norm import apply_weight_norm
from codec.progress import track
from codec.teachers.features import FeatureInfo
from codec.teachers.features.calibrate import TargetStatistics, calibrate
from codec.teachers.features.live import LiveFeatures
from codec.teachers.features.view import TeacherView, clips_seen
from codec.teachers.teaching import needs_calibration, teacher_losses
from codec.train.adversary import Adversary
from codec.train.balancer import Balancer
from codec.train.config import TrainConfig
from codec.train.generator import Generator
from codec.train.losses.registry import LossContext
from codec.train.objective import Objective, check_losses
from codec.train.optimizer import Optimizer, Rates, WeightAverage, hidden_matrices
from codec.train.recorded import RecordedStep
from codec.train.state import TrainState
from codec.train.step import FiniteGuard, TrainStep

_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass
class Run:
    """The parts of a run."""

    accelerator: Accelerator
    store: AudioStore
    batches: CropBatches
    state: TrainState
    train_step: TrainStep | RecordedStep
    teachers: dict[str, FeatureInfo]
    """What each teacher's features are, by its name."""


def build_run(config: TrainConfig, accelerator: Accelerator) -> Run:
    """Open the data, build the networks and wrap them for several processes.

    Raises:
        CodecError: for anything wrong with the config, the data or the features.
    """
    if config.data.batch_size % accelerator.num_processes:
        raise CodecError(
            f"config data.batch_size: {config.data.batch_size} crops cannot be shared evenly by "
            f"{accelerator.num_processes} processes"
        )
    # Before audio is decoded, which may take an hour.
    check_losses(config.losses, config.model, config.teachers)
    codec = Codec(config.model)
    # A released SEANet trains its convolutions so; a network without any is left as it is.
    apply_weight_norm(codec)
    store, teachers, statistics = _open_data(config, accelerator)
    batches = _batches(config, codec, store, teachers, accelerator)
    infos = {name: teacher.info for name, teacher in teachers.items()}
    state, step = build_step(config, codec, infos, accelerator, statistics)
    return Run(accelerator, store, batches, state, step, infos)


def build_step(
    config: TrainConfig,
    codec: Codec,
    teachers: dict[str, FeatureInfo],
    accelerator: Accelerator,
    statistics: dict[str, TargetStatistics] | None = None,
) -> tuple[TrainState, TrainStep | RecordedStep]:
    """Networks and optimizers around ``codec``, and what trains them, wrapped for several processes.

    Args:
        teachers: what each teacher's features are, by its name.
        statistics: moments of the targets of the teachers that were calibrated.

    Raises:
        CodecError: for wrong losses, discriminators or options of theirs.
    """
    if config.cuda_graphs and (accelerator.device.type != "cuda" or accelerator.num_processes > 1):
        raise CodecError(
            f"config cuda_graphs: needs one process on a CUDA device, found {accelerator.num_processes} on "
            f"{accelerator.device.type}; set cuda_graphs=false"
        )
    hearing = [name for name, source in config.teachers.items() if source.hears_output]
    if config.cuda_graphs and hearing:
        raise CodecError(
            f"config teachers.{hearing[0]}.attach: output hears as many clips of a batch as are of its domains, which "
            "no CUDA graph records; set cuda_graphs=false"
        )
    state = _build_state(config, codec, teachers, statistics or {}, accelerator.device)
    adversary = None
    if state.discriminators is not None and state.discriminator_optimizer is not None:
        adversary = Adversary(
            config.adversary,
            Rates(config.schedule, config.max_steps, config.adversary.start_step),
            state.discriminators,
            accelerator.prepare_model(state.discriminators),
            state.discriminator_optimizer,
            state.generator.autocast,
            None if config.adversary.crop_frames is None else config.adversary.crop_frames * codec.hop_length,
        )
    step = TrainStep(
        Rates(config.schedule, config.max_steps),
        _shared(state.generator, accelerator),
        _shared(state.objective, accelerator),
        state.optimizer,
        FiniteGuard(),
        adversary,
        state.balancer,
    )
    step.frozen_until = config.heads_first * config.max_steps
    # A frozen decoder is not even run where no loss hears its audio: that is half of a step's time.
    step.decodes = state.objective.hears_audio or "decoder" not in config.freeze or state.balancer is not None
    return state, RecordedStep(step) if config.cuda_graphs else step


def _open_data(
    config: TrainConfig, accelerator: Accelerator
) -> tuple[AudioStore, dict[str, TeacherView], dict[str, TargetStatistics]]:
    clips = training_clips(config.data)
    quiet = not accelerator.is_main_process
    console = Console(stderr=True, quiet=quiet)

    def progress(items: Iterable[Any], total: int) -> Iterable[Any]:
        return track(items, "decoding audio", total, quiet)

    def warn(line: str) -> None:
        console.print(f"warning: {line}", highlight=False, markup=False, soft_wrap=True)

    # The first process packs the audio and times words, then the others find it done.
    with accelerator.main_process_first():
        store = open_audio(config.data, clips, config.model.sample_rate, progress, warn)
        teachers = open_features(config.teachers, config.words, store)
        infos = {name: teacher.info for name, teacher in teachers.items()}
        losses = config.losses | teacher_losses(config.teachers, infos, config.losses)
        used = [clip for clip, length in zip(store.clips, store.lengths, strict=True) if length]
        statistics = {}
        for name in sorted(needs_calibration(losses) & teachers.keys()):
            seen = clips_seen(name, config.teachers[name].seen, used)
            statistics[name] = calibrate(name, teachers[name], seen)
    return store, teachers, statistics


def _batches(
    config: TrainConfig,
    codec: Codec,
    store: AudioStore,
    teachers: dict[str, TeacherView],
    accelerator: Accelerator,
) -> CropBatches:
    data = config.data
    live = [name for name, view in teachers.items() if isinstance(view.source, LiveFeatures)]
    if data.processes and live:
        raise CodecError(
            f"config data.processes: teachers.{live[0]} computes on the fly, which only threads can share; "
            "run codec features first, or set data.processes=0"
        )
    length = data.crop_frames * codec.hop_length
    planner = CropPlanner(
        store, length, config.seed, data.domain_weights, data.augmentation, data.domain_quota
    )
    share = data.batch_size // accelerator.num_processes
    return CropBatches(planner, codec.hop_length, share, accelerator.process_index, teachers)


def _build_state(
    config: TrainConfig,
    codec: Codec,
    teachers: dict[str, FeatureInfo],
    statistics: dict[str, TargetStatistics],
    device: torch.device,
) -> TrainState:
    context = LossContext(
        sample_rate=codec.sample_rate,
        latent_dim=config.model.network.latent_dim,
        num_codebooks=codec.num_codebooks,
        teacher_dims={name: info.dim for name, info in teachers.items()},
        clip_teachers=frozenset(name for name, info in teachers.items() if info.level == "clip"),
        statistics=statistics,
    )
    generator = Generator(codec, config.quantizer, _DTYPES[config.precision]).to(device)
    generator.freeze(config.freeze, config.freeze_weights)
    losses = config.losses | teacher_losses(config.teachers, teachers, config.losses)
    objective = Objective(losses, context, config.weighting).to(device)
    objective.watch(generator.codec)
    if not _trainable(objective) and (config.heads_first or not _trainable(generator)):
        raise CodecError(
            "config: nothing to train, since no loss has a head; unfreeze a part or set heads_first=0"
        )
    if config.compile:
        generator.compile_networks()
    optimizer = Optimizer(
        [*_trainable(generator), *_trainable(objective)],
        config.optimizer,
        hidden=[p for p in hidden_matrices(codec.encoder) + hidden_matrices(codec.decoder) if p.requires_grad],
    )
    discriminators = discriminator_optimizer = None
    if config.discriminators:
        adversary = config.adversary
        discriminators = Discriminators(
            config.discriminators, adversary.kind, adversary.reduction, adversary.gradient_penalty
        ).to(device)
        if device.type == "cuda":
            # The layout that cuDNN's bf16 convolutions work in; others are transposed back and forth.
            # A form of `to` that torch's own types lack.
            discriminators.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.compile:
            for member in discriminators.members.values():
                member.compile()
        # Their weights are convolutions, which Muon does not take.
        discriminator_optimizer = Optimizer(
            _trainable(discriminators), adversary.optimizer or config.optimizer
        )
    return TrainState(
        generator,
        objective,
        WeightAverage(generator, config.ema_decay),
        optimizer,
        discriminators,
        discriminator_optimizer,
        None if config.balancer is None else Balancer(config.balancer, objective.weights),
    )


def _shared(module: nn.Module, accelerator: Accelerator) -> nn.Module:
    """``module`` in the wrapper of several processes, which refuses one that learns nothing: losses without heads."""
    return accelerator.prepare_model(module) if _trainable(module) else module


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
