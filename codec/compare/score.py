"""Scores of one finished model, by the metrics and probes of ``codec eval``."""

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch

from codec.atomic import atomic_path
from codec.compare.config import ScoringConfig, SoundConfig
from codec.compare.figures import FIGURES, ctc_figures, token_figures
from codec.compare.plan import Trial
from codec.config import from_dict, to_dict
from codec.errors import CodecError
from codec.eval.clips import open_clips
from codec.eval.measures import Column, MetricSettings, build_measures
from codec.eval.measures.base import Measure
from codec.eval.options import ClipsConfig
from codec.eval.probes import Finding, TokenTable, build_probe, resemblances, run_probes
from codec.eval.probes.types import ProbeTask
from codec.eval.runner import Request, run
from codec.eval.statistics import Figure
from codec.eval.summary import all_columns, summarize
from codec.eval.systems import model_systems
from codec.eval.training import FILE as TRAINING_FILE
from codec.eval.training import read_training
from codec.model.config import CodecConfig
from codec.model.files import load_model


@dataclass(frozen=True)
class Score:
    """One figure of one model.

    Attributes:
        key: ``SOUND/MEASURE``, or ``PROBE/MEASURE/LAYERS/FEATURES`` with layers ``first``, ``all`` or ``1-K``;
            with ``/over-chance`` at its end it is the distance from what tokens without information get.
        title: for tables.
        value: as measured; ``value * scale`` is printed with ``digits``.
        low: 95 % interval by bootstrap over speakers, or over clips where there is one speaker.
        high: ``None`` where they are too few for one.
        better: ``higher``, ``lower`` or ``neither``.
        clips: how many it stands on.
        marks: losses that the model was trained with and that the figure resembles.
    """

    key: str
    title: str
    value: float
    low: float | None
    high: float | None
    better: str
    clips: int
    digits: int
    scale: float
    marks: list[str] = field(default_factory=list)


def check_scoring(config: ScoringConfig, models: list[CodecConfig]) -> list[str]:
    """Check clips, metrics and probes before anything is trained.

    Args:
        config: how to score.
        models: what will be scored.

    Returns:
        keys of the scores of decoded audio; those of probes depend on the model.

    Raises:
        CodecError: for whatever would stop a scoring.
    """
    keys = []
    for name, sound in config.sound.items():
        open_clips(sound.clips)
        keys += [f"{name}/{column.name}" for column in all_columns(_metrics(config, sound))]
        most = min(model.quantizer.num_codebooks for model in models)
        if sound.codebooks is not None and not 1 <= sound.codebooks <= most:
            raise CodecError(
                f"config scoring.sound.{name}.codebooks: {sound.codebooks} is not in 1 to {most}"
            )
    for of, own in (("tokens", config.tokens), ("ctc", config.ctc)):
        if own is not None:
            open_clips(own)
            keys += [f"{of}/{name}" for name in FIGURES[of]]
    for name, wanted in config.probes.items():
        probe = build_probe(name, wanted.options)
        clips, train = open_clips(wanted.clips), open_clips(wanted.train) if wanted.train else []
        for model in models:
            codes = torch.zeros(model.quantizer.num_codebooks, 1)
            tokens = TokenTable({"": codes}, model.frame_rate, model.quantizer.codebook_size)
            probe.check(ProbeTask(tokens, clips, train, config.seed, Path()))
    return keys


def score_run(run: Trial, config: ScoringConfig, shared: Path) -> list[Score]:
    """Scores of a trained run, from ``scores.json`` if it has them already.

    Args:
        run: trained.
        config: how to score.
        shared: folder for what all runs may use, such as alignments.
    """
    kept = read_scores(run, config)
    if kept is not None:
        return kept
    work = run.folder / "scoring"
    scores = [score for name in config.sound for score in _sound(name, run, config, work)]
    with _Alignments(shared, work / "probes"):
        scores += [score for name in config.probes for score in _probe(name, run, config, work / "probes")]
    scores += [*_own("tokens", run, config.tokens), *_own("ctc", run, config.ctc)]
    content = {"stamp": _stamp(run, config), "scores": [dataclasses.asdict(score) for score in scores]}
    with atomic_path(_scores_path(run)) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return scores


def read_scores(run: Trial, config: ScoringConfig) -> list[Score] | None:
    """Scores that were made of this very model in this very way; ``None`` where there are none."""
    try:
        content = json.loads(_scores_path(run).read_text(encoding="utf-8"))
        if content["stamp"] == _stamp(run, config):
            return [from_dict(Score, score) for score in content["scores"]]
    except (OSError, ValueError, KeyError, CodecError):
        pass
    return None


def _scores_path(run: Trial) -> Path:
    return run.folder / "scores.json"


def _stamp(run: Trial, config: ScoringConfig) -> str:
    """All that scores depend on: the model's files, the settings, and the manifests' text."""
    digest = hashlib.sha256(json.dumps(to_dict(config)).encode())
    files = [run.export / name for name in ("config.json", "model.safetensors", TRAINING_FILE)]
    for path in [*files, *manifests(config)]:
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:16]


def manifests(config: ScoringConfig) -> list[Path]:
    """Manifests of all clips that models are scored on, and of those that probes are trained on."""
    parts = [sound.clips for sound in config.sound.values()]
    parts += [clips for clips in (config.tokens, config.ctc) if clips]
    parts += [clips for probe in config.probes.values() for clips in (probe.clips, probe.train) if clips]
    return [Path(manifest) for clips in parts for manifest in clips.manifests]


def _metrics(config: ScoringConfig, sound: SoundConfig) -> list[Measure]:
    return build_measures(list(sound.measures), MetricSettings(config.asr, config.speaker_model, config.tag_model))


def _sound(name: str, of: Trial, config: ScoringConfig, out: Path) -> list[Score]:
    sound = config.sound[name]
    counts = None if sound.codebooks is None else [sound.codebooks]
    systems = model_systems([str(of.export)], counts)
    request = Request(open_clips(sound.clips), systems, _metrics(config, sound), out, workers=0)
    (summary,) = summarize(request, run(request), config.seed)
    columns = [column for column in all_columns(request.measures) if column.name in summary.figures]
    return [
        _score(name, column, summary.figures[column.name], summary.marks.get(column.name, []))
        for column in columns
    ]


def _score(name: str, column: Column, figure: Figure, marks: list[str]) -> Score:
    better = {True: "higher", False: "lower", None: "neither"}[column.higher_is_better]
    return Score(
        key=f"{name}/{column.name}",
        title=f"{name}: {column.title}",
        value=figure.value,
        low=figure.low,
        high=figure.high,
        better=better,
        clips=figure.clips,
        digits=column.digits if column.scale != 1 else max(column.digits, 2),
        scale=column.scale,
        marks=marks,
    )


def _probe(name: str, of: Trial, config: ScoringConfig, out: Path) -> list[Score]:
    wanted = config.probes[name]
    clips, train = open_clips(wanted.clips), open_clips(wanted.train) if wanted.train else None
    model = load_model(of.export, "cpu")
    result = run_probes(model, clips, train, [name], config.seed, out, {name: wanted.options})[name]
    every = f"1-{model.num_codebooks}"
    training = read_training(of.export)
    marks = training.like(resemblances([name])[name]) if training else []
    return [score for measure in result.measures for score in _probe_scores(name, measure, every, marks)]


def _probe_scores(name: str, measure: Finding, every: str, marks: list[str]) -> list[Score]:
    """A probe's figure in percent, and its distance from tokens without information."""
    layers = {"1": "first", every: "all"}.get(measure.codebooks, measure.codebooks)
    features = measure.features.replace(" ", "-")
    score = Score(
        key=f"{name}/{measure.name}/{layers}/{features}",
        title=f"{name}: {measure.name} %, {layers}, {measure.features}".replace("_", " "),
        value=measure.value,
        low=measure.low,
        high=measure.high,
        better=measure.better,
        clips=measure.clips,
        digits=1,
        scale=100.0,
        marks=marks,
    )
    low, high = (None if end is None else end - measure.baseline for end in (measure.low, measure.high))
    above = dataclasses.replace(
        score,
        key=f"{score.key}/over-chance",
        title=f"{score.title}, over chance",
        value=measure.value - measure.baseline,
        low=low,
        high=high,
    )
    return [score, above]


def _own(of: str, run: Trial, clips: ClipsConfig | None) -> list[Score]:
    """Scores of tokens against the run's start, or of its own head."""
    if clips is None:
        return []
    figures = {"tokens": token_figures, "ctc": ctc_figures}[of](run, load_model(run.export, "cpu"), open_clips(clips))
    training = read_training(run.export)
    return [
        Score(
            key=f"{of}/{figure.name}",
            title=figure.title,
            value=figure.value,
            low=None,
            high=None,
            better=figure.better,
            clips=figure.clips,
            digits=figure.digits,
            scale=figure.scale,
            marks=training.like(figure.resembles) if training else [],
        )
        for figure in figures
    ]


class _Alignments:
    """Lends a run the phone alignments that other runs made, and keeps those it makes."""

    def __init__(self, shared: Path, folder: Path):
        self._shared, self._own = shared / "alignments.jsonl", folder / "alignments.jsonl"

    def __enter__(self) -> None:
        self._own.parent.mkdir(parents=True, exist_ok=True)
        if self._shared.is_file():
            shutil.copyfile(self._shared, self._own)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._own.is_file():
            with atomic_path(self._shared) as temporary:
                shutil.copyfile(self._own, temporary)
