"""Train the shipped model from nothing: its data, then its ten stages and its merges, one command after the other.

Recordings and teachers are those of docs/training.md ("Our data and models"), and fluidsynth makes the melodies. What
is finished is passed over, and a training that was stopped goes on, so the same command resumes.
checkpoints/default/training.md says what each stage does, and where the shipped model's own training differed.

``python recipes/default_model.py part=data``, then ``python recipes/default_model.py part=model``
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

import torch

from codec.atomic import atomic_path
from codec.cli.recipe import run_recipe
from codec.console import print_note
from codec.errors import CodecError
from codec.settings import read_config
from codec.train.config import TrainConfig
from codec.train.tasks.base import is_trained

DATA = Path("../shared/data")
MANIFESTS = Path("cache/manifests")
STAGES = (
    *("default", "default_refine", "natural", "natural_phases", "natural_split", "natural_sizes"),
    *("natural_levels", "natural_codes", "natural_music", "natural_melodies"),
)
SPEECH = {
    "all_speakers": ("train.jsonl", "speech/librispeech*", "many_speakers"),
    "kokoro": ("train.jsonl", "speech/kokoro*", "kokoro"),
    "kathleen": ("train.jsonl", "speech/kathleen*", "studio"),
    "kerstin": ("train.jsonl", "speech/kerstin*", "studio"),
    "picovoice": ("train_more.jsonl", "speech/picovoice*", "voices"),
    "dutch": ("train_more.jsonl", "speech/[fn]*", None),
}
"""By manifest: its source, the recordings of it, and their domain. Dutch is that of Flemish Guy and Nathalie."""
HELD_OUT = 16
"""Speakers of all_speakers that experiments are compared on."""


@dataclass(frozen=True)
class MakeConfig:
    """Which part, and how it is computed."""

    part: Literal["data", "model"]
    """data: manifests, teachers' features and melodies; model: stages, merges and graphs."""
    processes: int = 1
    """Of each training; they divide its batch."""
    precision: Literal["bf16", "fp32"] | None = None
    """Of each training and of its frozen models, instead of the configs' own. A CPU without bfloat16 wants fp32."""
    max_steps: int | None = None
    """Of each training, for a trial."""
    output: str = "runs/shipped"
    """Folder of the finished model."""

    def __post_init__(self) -> None:
        if self.processes < 1 or (self.max_steps is not None and self.max_steps < 1):
            raise CodecError("config: processes and max_steps must be 1 or more")


@dataclass(frozen=True)
class Step:
    """A command, of the package's verbs or of Python, and whether its result is there."""

    command: list[str]
    done: Callable[[], bool]
    environment: tuple[tuple[str, str], ...] = ()


def data_steps(config: MakeConfig) -> list[Step]:
    """Manifests, melodies and the teachers' features."""
    steps = []
    for name, (source, include, domain) in SPEECH.items():
        options = [f"source={DATA / source}", f"include={include}", *([f"domain={domain}"] if domain else [])]
        steps.append(_manifest(name, *options))
    melodies = Path("cache/melodies")
    steps.append(_made([_recipe("melodies"), f"output={melodies}", "clips=120"], melodies / "melodies.jsonl"))
    steps.append(_manifest("melodies", f"source={melodies / 'melodies.jsonl'}", f"source_root={melodies}"))
    # The features' own cache tells what is missing.
    features = ["-m", "codec", "features", "--config", "features"]
    features += ["teachers.sm.dtype=float32"] if config.precision == "fp32" else []
    more = [f"manifest={DATA / 'train_more.jsonl'}", "teachers.lm=null", "words=null"]
    return [*steps, Step(features, lambda: False), Step([*features, *more], lambda: False)]


def model_steps(config: MakeConfig) -> list[Step]:
    """Ten trainings, two merges, the levels after each merge, and the graphs."""
    level = [_recipe("set_level"), f"manifest={MANIFESTS / 'many_speakers.jsonl'}", f"root={DATA}"]
    steps = [_training(stage, config) for stage in STAGES]
    # The first merge is what the last stage begins with.
    steps[-1:-1] = [_merge("natural_merge"), _leveled(level, "runs/natural_merge", "runs/mean", 0.375)]
    steps += [_merge("natural_blend", "--force"), _leveled(level, "runs/natural_blend", config.output, 0.5)]
    export = ["-m", "codec", "export", "--onnx", "--model", config.output]
    return [*steps, _made(export, Path(config.output) / "onnx" / "graphs.json")]


def _training(stage: str, config: MakeConfig) -> Step:
    overrides = [] if config.max_steps is None else [f"max_steps={config.max_steps}"]
    settings = read_config(TrainConfig, stage, overrides)
    if settings.cuda_graphs and not torch.cuda.is_available():
        overrides += ["cuda_graphs=false"]
    if config.precision is not None:
        overrides += [f"precision={config.precision}"]
        if "output_features" in settings.losses:
            overrides += [f"losses.output_features.precision={config.precision}"]
    start, environment = ["-m", "codec"], ()
    if config.processes > 1:
        start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(config.processes), *start]
        environment = (("OMP_NUM_THREADS", "1"),)
    command = [*start, "train", "--config", stage, "resume=true", *overrides]
    return Step(command, lambda: is_trained(settings), environment)


def _merge(config: str, *flags: str) -> Step:
    return _made(["-m", "codec", "merge", config, *flags], Path("runs") / config / "merge.json")


def _leveled(recipe: list[str], model: str, output: str, rumble: float) -> Step:
    command = [*recipe, f"model={model}", f"output={output}", f"rumble={rumble}"]
    return _made(command, Path(output) / "model.safetensors")


def _manifest(name: str, *options: str) -> Step:
    path = MANIFESTS / f"{name}.jsonl"
    return _made(["-m", "codec", "prepare", f"root={DATA}", *options, f"output={path}"], path)


def _made(command: list[str], result: Path) -> Step:
    return Step(command, result.is_file)


def _recipe(name: str) -> str:
    return str(Path(__file__).with_name(f"{name}.py"))


def hold_speakers_out() -> None:
    """Split all_speakers.jsonl, which has one utterance of each, into many_speakers.jsonl and held_out.jsonl."""
    lines = (MANIFESTS / "all_speakers.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    for name, part in (("many_speakers", lines[:-HELD_OUT]), ("held_out", lines[-HELD_OUT:])):
        with atomic_path(MANIFESTS / f"{name}.jsonl") as temporary:
            temporary.write_text("".join(part), encoding="utf-8")


def run_steps(steps: list[Step]) -> int:
    """Run what is not done, in order.

    Returns:
        0, or the exit status of the first command that failed; 130 where one was stopped before its end.
    """
    for number, step in enumerate(steps, start=1):
        shown = f"{number}/{len(steps)}  python {' '.join(step.command)}"
        if step.done():
            print_note(f"{shown}: done before")
            continue
        print_note(shown)
        status = _run(step)
        if status:
            return status
        if "train" in step.command and not step.done():
            print_note("stopped; the same command resumes")
            return 130
    return 0


def _run(step: Step) -> int:
    """Exit status of the command, which hears Ctrl-C by itself and SIGTERM through this process."""
    child = subprocess.Popen([sys.executable, *step.command], env={**os.environ, **dict(step.environment)})

    def forward(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    before = {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: forward}
    before = {number: signal.signal(number, handler) for number, handler in before.items()}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(config: MakeConfig) -> int:
    """Make one part."""
    if not DATA.is_dir():
        raise CodecError(f"{DATA} is not a folder; docs/training.md says what belongs there")
    if config.part == "model":
        return run_steps(model_steps(config))
    status = run_steps(data_steps(config))
    if not status:
        hold_speakers_out()
    return status


if __name__ == "__main__":
    sys.exit(run_recipe(MakeConfig, main, __doc__))
