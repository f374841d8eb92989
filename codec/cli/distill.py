"""``codec distill``: a small encoder from nothing but a teacher's vectors."""

import dataclasses
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from codec.atomic import atomic_path
from codec.cli.recipe import run_recipe
from codec.cli.train import expand_flags
from codec.console import print_note
from codec.data import Clip, read_manifest
from codec.data.clusters import effective_size
from codec.distilling.config import EmbeddingConfig
from codec.distilling.targets import read_vectors
from codec.distilling.task import EmbeddingTask
from codec.errors import CodecError
from codec.eval.probes.embedding import Embed, EmbeddingProbeConfig, probe_embedding
from codec.eval.probes.types import ProbeResult
from codec.students.files import load_student
from codec.students.student import Student
from codec.teachers import teacher_configs
from codec.train.trainer import Trainer

REPORT = "report.json"
DESCRIPTION = """Train a small encoder on a teacher's vectors, one for each clip.

The student is in <output>/export, and codec.load_student reads it. After the last step report.json compares it
with its teacher. On several processes: accelerate launch -m codec distill --config ssondo

--resume is short for resume=true, --init-from PATH for init_from=PATH. Ctrl-C and SIGTERM save a
checkpoint and leave, with exit status 0 and 143; --resume goes on from there.
"""


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Distil as the command line says; the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    groups = {f"teacher.extract.* where type={kind}": cls for kind, cls in teacher_configs().items()}
    return run_recipe(
        EmbeddingConfig, distill, DESCRIPTION, groups, expand_flags(given), program, choose=_settings_class
    )


def _settings_class(values: dict[str, Any]) -> type[EmbeddingConfig]:
    if "task" not in values:
        raise CodecError("codec distill needs a config with task: embedding, such as --config ssondo")
    found = values["task"]
    if found != EmbeddingConfig.task:
        raise CodecError(f"config task: {found!r} is trained by codec train; codec distill needs task: embedding")
    return EmbeddingConfig


def distill(config: EmbeddingConfig) -> int:
    """Train, then report."""
    trainer = Trainer(config)
    task = cast(EmbeddingTask, trainer.task)
    probed = probe_clips(config, task)
    result = trainer.run()
    if result.signal is not None:
        return 128 + signal.SIGTERM if result.signal == signal.SIGTERM else 0
    if trainer.accelerator.is_main_process:
        report(config, task, result.export, probed)
    return 0


def probe_clips(config: EmbeddingConfig, task: EmbeddingTask) -> list[Clip]:
    """Clips that are probed: those of ``probe.manifests``, by default the ones held out; none without probes."""
    if config.probe is None:
        return []
    if not config.probe.manifests:
        return [task.store.clips[i] for i in task.held_out.tolist()]
    return [clip for source in config.probe.manifests for clip in read_manifest(source, config.data.root)]


def report(config: EmbeddingConfig, task: EmbeddingTask, export: Path, clips: list[Clip]) -> None:
    """Print size, gain and probes, and write them to ``report.json``."""
    student = load_student(export, "cpu")
    values: dict[str, Any] = {
        "student": size(student, config),
        "held_out": task.measure(task.held_out),
        "clips": {"training": len(task.training), "effective": effective_size(task.batches.weights)},
    }
    gain = values["held_out"]
    print_note(
        f"cosine with the teacher on {len(task.held_out)} clips held out: {gain['cosine_similarity']:.3f}, "
        f"of a constant {gain['constant']:.3f}, gain {gain['gain']:.3f}"
    )
    ratio = values["student"].get("ratio")
    print_note(
        f"{export}: {student.num_parameters:,} weights, vectors of {student.dim}"
        + (f"; the teacher has {ratio:.1f} times as many weights" if ratio else "")
    )
    if config.probe is not None:
        probes = probe(config, config.probe, student, clips)
        values["probes"] = {name: dataclasses.asdict(result) for name, result in probes.items()}
        print_probes(probes)
    with atomic_path(Path(config.output) / REPORT) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def size(student: Student, config: EmbeddingConfig) -> dict[str, float]:
    """Weights of student and teacher, and how many times the teacher's are the student's."""
    values: dict[str, float] = {"parameters": student.num_parameters, "dim": student.dim}
    if config.teacher_parameters:
        values |= {"teacher_parameters": config.teacher_parameters}
        values |= {"ratio": config.teacher_parameters / student.num_parameters}
    return values


def probe(
    config: EmbeddingConfig, settings: EmbeddingProbeConfig, student: Student, clips: list[Clip]
) -> dict[str, ProbeResult]:
    """The same probes of the teacher, the student, and a student that was never trained."""
    torch.manual_seed(config.seed)
    untrained = Student(student.config).eval()
    embedders: dict[str, Embed] = {
        "teacher": lambda some: read_vectors(config.teacher, some).values.numpy(),
        "student": embedder(student),
        "untrained": embedder(untrained),
    }
    return {name: probe_embedding(embed, clips, settings, config.seed) for name, embed in embedders.items()}


def embedder(student: Student) -> Callable[[list[Clip]], np.ndarray]:
    """A student as a function of clips; one file is in memory at a time."""
    return lambda clips: np.concatenate([student.embed(clip.audio).numpy() for clip in clips])


def print_probes(probes: dict[str, ProbeResult]) -> None:
    """A row for each measure: the accuracies, and what share of the teacher's the student retains."""
    table = Table("balanced accuracy", *probes, "retained", "chance", "clips")
    for measure in probes["teacher"].measures:
        found = {name: result.measure(measure.name, measure.codebooks) for name, result in probes.items()}
        cells = [f"{other.value:.3f}" for other in found.values()]
        retained = f"{found['student'].value / measure.value:.1%}" if measure.value else "–"
        table.add_row(measure.name.replace("_", " "), *cells, retained, f"{measure.baseline:.3f}", str(measure.clips))
    Console().print(table)
    for note in probes["teacher"].notes:
        print_note(note)
