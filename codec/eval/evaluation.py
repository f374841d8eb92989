"""The whole of ``codec eval``: options checked, jobs run, probes asked, report written."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from codec.config import to_dict
from codec.data.manifest import Clip, read_manifest
from codec.errors import CodecError
from codec.eval.clips import check_found, folder_notes, read_clips, select
from codec.eval.measures import Measure, MetricSettings, build_measures
from codec.eval.measures.registry import installed_measures, ways_to_install
from codec.eval.options import Options
from codec.eval.report import About, Report, write_report
from codec.eval.runner import Request, run
from codec.eval.summary import all_columns, summarize
from codec.eval.systems import Original, Ours, System, model_systems, parse_baseline

DEFAULT_MEASURES = (
    "distillmos",
    "dnsmos",
    "pesq",
    "stoi",
    "estoi",
    "visqol",
    "speaker",
    "wer_moonshine",
    "level",
    "hum",
    "si_sdr",
    "mel",
    "stft",
)


@dataclass(frozen=True)
class Plan:
    """A checked evaluation, ready to run."""

    options: Options
    request: Request
    about: About
    train_clips: list[Clip] | None
    notes: list[str]


def prepare(source: Path, options: Options, command: str = "") -> Plan:
    """Check everything that can be checked before work starts.

    Args:
        source: manifest or folder.
        options: what to do.
        command: what to print in the report for others to repeat.

    Raises:
        CodecError: for anything that the user has to change.
    """
    clips = select(read_clips(source, options.root), options.selection)
    check_found(clips)
    measures, notes = _measures(options)
    notes = [*notes, *folder_notes(source)]
    systems: list[System] = [Original()]
    systems += model_systems(options.models, options.codebooks, options.device)
    systems += [parse_baseline(spec) for spec in options.baselines]
    _check_probes(options)
    train_clips = read_manifest(options.probe_train, options.root) if options.probe_train else None
    for system in systems:
        # Report a file that cannot be read now, not at the end.
        system.training()
    request = Request(
        clips,
        systems,
        measures,
        options.out,
        options.workers,
        options.max_delay,
        options.align,
        options.timeout,
    )
    return Plan(options, request, _about(source, options, measures, command), train_clips, notes)


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation.

    Attributes:
        report: as written.
        reused: how many measurements an earlier run had made.
    """

    report: Report
    reused: int


def execute(plan: Plan, progress: Callable[[int, int], None] = lambda done, total: None) -> Evaluated:
    """Run a plan and write its report."""
    # Probes refuse unsuitable clips before they work, so they come before the long part.
    probes = _probes(plan)
    outcome = run(plan.request, progress)
    report = Report(
        about=plan.about,
        clips=list(plan.request.clips),
        columns=all_columns(plan.request.measures),
        systems=summarize(plan.request, outcome, plan.options.seed),
        rows=outcome.rows,
        probes=probes,
        probe_marks=_probe_marks(plan),
    )
    write_report(report, plan.options.out, plan.options.players)
    return Evaluated(report, outcome.reused)


def _measures(options: Options) -> tuple[list[Measure], list[str]]:
    settings = MetricSettings(options.asr, options.speaker_model, options.tag_model)
    if options.measures == ["none"]:
        return [], []
    if options.measures is not None:
        return build_measures(options.measures, settings), []
    if options.encoders and not options.models and not options.baselines:
        # Encoders give no audio.
        return [], []
    wanted = [*DEFAULT_MEASURES]
    wanted += ["xvector"] if options.speaker_model else []
    wanted += ["tags", "visqol_audio"] if options.tag_model else []
    if options.asr:
        # The recognisers stand side by side.
        wanted.insert(wanted.index("wer_moonshine"), "wer")
    names = installed_measures(wanted)
    absent = [name for name in wanted if name not in names]
    ways = "; ".join(ways_to_install(absent))
    notes = [f"not installed and skipped: {', '.join(absent)} ({ways})"] if absent else []
    return build_measures(names, settings), notes


def _check_probes(options: Options) -> None:
    """Raise a :class:`CodecError` for a probe that nobody registered, or that has nothing to look at."""
    if options.probes:
        from codec.eval.probes.registry import PROBES

        of_encoders = [PROBES.find(name).of_encoders for name in options.probes]
        if not options.models and not (options.encoders and all(of_encoders)):
            raise CodecError("probes look into a model's tokens; name one with --model")
    if options.encoders and not (options.probes and any(of_encoders)):
        raise CodecError("--encoder is for probes of encoders; add --probes linear or finetune")


def _probes(plan: Plan) -> dict[str, dict[str, Any]]:
    """Probes of each model, with all its codebooks, and of each encoder."""
    if not plan.options.probes:
        return {}
    from codec.eval.probes import run_probes

    found = {}
    models = {s.family: s for s in plan.request.systems if isinstance(s, Ours)}
    for name, system in models.items():
        found[name] = run_probes(
            model=system.model(),
            clips=list(plan.request.clips),
            train_clips=plan.train_clips,
            which=plan.options.probes,
            seed=plan.options.seed,
            out=plan.options.out / "probes" / name,
        )
    return found | _encoder_probes(plan)


def _encoder_probes(plan: Plan) -> dict[str, dict[str, Any]]:
    from codec.eval.probes.encoder_frames import EncoderFrames, folder_name
    from codec.eval.probes.registry import PROBES
    from codec.eval.probes.run import probe_task
    from codec.eval.probes.types import ProbeTask

    options, clips = plan.options, list(plan.request.clips)
    folder = options.out / "probes"
    which = [name for name in options.probes if PROBES.find(name).of_encoders]
    # All are opened before the first is asked.
    sources = {name: EncoderFrames(name, options.device) for name in options.encoders}
    return {
        name: probe_task(
            ProbeTask(source, clips, plan.train_clips or [], options.seed, folder / folder_name(name), folder), which
        )
        for name, source in sources.items()
    }


def _probe_marks(plan: Plan) -> dict[str, dict[str, list[str]]]:
    if not plan.options.probes:
        return {}
    from codec.eval.probes import resemblances

    trainings = {s.family: s.training() for s in plan.request.systems if isinstance(s, Ours)}
    known = resemblances(plan.options.probes)
    return {
        family: {probe: losses for probe, names in known.items() if (losses := training.like(names))}
        for family, training in trainings.items()
        if training is not None
    }


def _about(source: Path, options: Options, measures: list[Measure], command: str) -> About:
    versions = {name: version(name) for name in ("torch", "numpy", "soundfile", "soxr")}
    for measure in measures:
        versions |= measure.versions()
    settings = to_dict(options)
    for path in ("out", "probe_train"):
        settings[path] = str(settings[path]) if settings[path] else None
    if settings["selection"]["max_seconds"] == float("inf"):
        settings["selection"]["max_seconds"] = None
    return About(
        command=command,
        codec=version("codec"),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        seed=options.seed,
        versions=versions,
        measures={measure.name: measure.describe() for measure in measures},
        settings={"source": str(source), **settings},
    )
