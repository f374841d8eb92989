"""Extract teachers' features for a manifest into a cache that training reads.

Step 2 of the pipeline. Each teacher under `teachers` gets a folder of the cache; naming a speech and
a language teacher is the paper's combined distillation (the weights belong to training). Word timestamps
are kept with them, so that variants of the language teacher do not recognise again. A run that was
stopped resumes where it was; bad files are listed at the end, and the exit status is then 1.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from codec.align.registry import build_aligner, read_words_config, words_options
from codec.align.store import AlignmentStore
from codec.align.types import Alignment
from codec.cli.recipe import run_recipe
from codec.data import Clip, read_manifest
from codec.errors import CodecError
from codec.jobs.batches import StageReport, interleave
from codec.precision import warn_of_slow_bf16
from codec.teachers import build_teacher, teacher_configs
from codec.teachers.features.cache import FeatureCache
from codec.teachers.features.extract import extract_features, extract_words
from codec.teachers.labels import LabelsTeacher, is_english
from codec.teachers.language import LanguageTeacher, is_speech
from codec.teachers.registry import Teacher

SHOWN_FAILURES = 20


@dataclass(frozen=True)
class ExtractConfig:
    """Settings of an extraction."""

    manifest: str
    """JSONL manifest, see codec prepare."""
    cache: str = "cache/features"
    """Folder for features and word timestamps."""
    teachers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Teachers by name (sm, lm, ...), each with a type and that type's keys, listed below."""
    words: Any = None
    """Aligner of words: a type (ctc by default) and that type's keys, listed below."""
    limit: int | None = None
    """Limit on the number of clips, a fair sample of the manifest's folders."""
    batch_seconds: float = 120.0
    """Padded audio in a batch."""
    threads: int | None = None
    """Threads of torch; null leaves its default."""
    root: str | None = None
    """Folder that the manifest's paths are relative to; by default the manifest's."""

    def __post_init__(self) -> None:
        if self.words is not None:
            object.__setattr__(self, "words", read_words_config(self.words))


def extract(config: ExtractConfig) -> int:
    """Check everything, then time words, then run each teacher."""
    if not config.teachers:
        raise CodecError("no teachers named; see the shipped config features")
    if config.threads:
        torch.set_num_threads(config.threads)
    clips = interleave(read_manifest(config.manifest, config.root))[: config.limit]
    teachers = {name: build_teacher(name, options) for name, options in config.teachers.items()}
    spoken = clips_to_time(clips, teachers, config.words is not None)
    if spoken and config.words is None:
        raise CodecError(
            f"{spoken[0].path}: {len(spoken)} clips need word timestamps or a text for the language "
            "teacher; set words.type and words.model"
        )
    warn_of_slow_bf16({"teachers": config.teachers})
    words: dict[str, Alignment] = {}
    reports: dict[str, StageReport] = {}
    if spoken:
        store = AlignmentStore(Path(config.cache) / "words" / f"{config.words.name}.jsonl", "words")
        reports["words"] = extract_words(spoken, build_aligner(config.words), store, config.batch_seconds)
        words = store.read()
    failed = {failure.clip for failure in reports["words"].failures} if spoken else set()
    for name, teacher in teachers.items():
        usable = clips if teacher.sample_rate else [clip for clip in clips if clip.path not in failed]
        cache = FeatureCache(config.cache, name)
        reports[name] = extract_features(usable, teacher, cache, words, config.batch_seconds)
    return show(reports)


def clips_to_time(clips: list[Clip], teachers: dict[str, Teacher], can_recognise: bool) -> list[Clip]:
    """Clips whose words some teacher needs with times, or whose text is not known.

    A language teacher needs a text of every clip; a teacher of labels does without, if nothing can recognise it.
    """
    spoken = [clip for clip in clips if is_speech(clip)]
    if any(teacher.needs_words for teacher in teachers.values()):
        return spoken
    without_text = [clip for clip in spoken if clip.text is None]
    if any(isinstance(teacher, LanguageTeacher) for teacher in teachers.values()):
        return without_text
    labels = any(isinstance(teacher, LabelsTeacher) for teacher in teachers.values())
    return [clip for clip in without_text if labels and can_recognise and is_english(clip)]


def show(reports: dict[str, StageReport]) -> int:
    """Print what was done and what failed; 1 if anything did."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for stage, report in reports.items():
        hours = report.audio_seconds / 3600
        speed = report.audio_seconds / max(report.wall_seconds, 1e-9)
        console.print(
            f"{stage}: {report.done} done, {report.skipped} there already, {len(report.failures)} failed; "
            f"{hours:.2f} h of audio in {report.wall_seconds:.0f} s ({speed:.0f}x real time)"
        )
        for failure in report.failures[:SHOWN_FAILURES]:
            console.print(f"  {failure}", markup=False)
        if len(report.failures) > SHOWN_FAILURES:
            console.print(f"  and {len(report.failures) - SHOWN_FAILURES} more")
    return int(any(report.failures for report in reports.values()))


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Run ``codec features`` with these arguments; return the exit status."""
    groups = {f"teachers.NAME.* where type={kind}": cls for kind, cls in teacher_configs().items()}
    groups |= words_options()
    return run_recipe(ExtractConfig, extract, __doc__, groups, arguments, program)
