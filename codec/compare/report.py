"""``table.md`` and ``results.json`` of a comparison."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from codec.atomic import atomic_path
from codec.compare.config import CompareConfig
from codec.compare.plan import Trial
from codec.compare.score import Score
from codec.compare.summary import Estimate, Summary
from codec.config import to_dict

_ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}


def choose(keys: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Keys that fit a pattern, in the order of the patterns, each once."""
    found = [key for pattern in patterns for key in keys if fnmatchcase(key, pattern)]
    return list(dict.fromkeys(found))


def write_results(config: CompareConfig, runs: Sequence[Trial], summary: Summary) -> None:
    """Everything, by variant: means, intervals, and the figure of every seed."""
    content = {
        "config": to_dict(config),
        "runs": {run.name: {"folder": str(run.folder), "steps": run.config.max_steps} for run in runs},
        "scores": {key: _facts(score) for key, score in summary.scores.items()},
        "variants": {variant.name: dataclasses.asdict(variant) for variant in summary.variants},
    }
    with atomic_path(Path(config.output) / "results.json") as temporary:
        temporary.write_text(json.dumps(_finite(content), indent=1) + "\n", encoding="utf-8")


def write_table(config: CompareConfig, runs: Sequence[Trial], summary: Summary) -> None:
    """One row for each variant, and one for each difference from the control."""
    with atomic_path(Path(config.output) / "table.md") as temporary:
        temporary.write_text(table(config, runs, summary), encoding="utf-8")


def table(config: CompareConfig, runs: Sequence[Trial], summary: Summary) -> str:
    """Markdown of the comparison."""
    keys = choose(list(summary.scores), config.table)
    steps = sorted({run.config.max_steps for run in runs})
    done = sum(len(variant.seeds) for variant in summary.variants)
    batches = sorted({_seconds_per_step(run) for run in runs})
    lines = [
        f"# {Path(config.output).name}",
        "",
        f"{done} of {len(runs)} runs of {_list(steps)} steps of {_list(batches)} s of audio, from `{config.base}`.",
        "[ ]: 95 % interval over seeds (Student's t). ( ): one seed, 95 % bootstrap over the speakers of the",
        "clips, which says nothing about other seeds.",
        "",
        *_rows(summary, keys, [_Row(one.name, one.estimates, set(one.marks)) for one in summary.variants]),
    ]
    control = next((set(variant.marks) for variant in summary.variants if variant.name == summary.control), set())
    differences = [
        _Row(f"{variant.name} − {summary.control}", variant.differences, set(variant.marks) | control, signed=True)
        for variant in summary.variants
        if variant.differences
    ]
    if differences:
        lines += [
            "",
            f"Difference from `{summary.control}`, seed by seed; in bold where the interval leaves out zero, as one in",
            "twenty does by chance.",
            "",
            *_rows(summary, keys, differences),
        ]
    lines += _mark_lines(summary, keys)
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Row:
    """Estimates by score key, and which of the keys get an asterisk."""

    name: str
    estimates: dict[str, Estimate]
    marked: set[str]
    signed: bool = False


def _rows(summary: Summary, keys: Sequence[str], rows: Sequence[_Row]) -> Iterator[str]:
    titles = [summary.scores[key].title + _ARROWS[summary.scores[key].better] for key in keys]
    yield "| " + " | ".join(["variant", "seeds", *titles]) + " |"
    yield "|---|" + "---:|" * (len(titles) + 1)
    for row in rows:
        if not row.estimates:
            continue
        seeds = max(len(estimate.values) for estimate in row.estimates.values())
        cells = [_cell(row.estimates.get(key), summary.scores[key], row.signed, key in row.marked) for key in keys]
        yield "| " + " | ".join([row.name, str(seeds), *cells]) + " |"


def _mark_lines(summary: Summary, keys: Sequence[str]) -> Iterator[str]:
    """What the asterisk means, where there is one."""
    named = []
    for variant in summary.variants:
        shown = [f"{summary.scores[k].title} ({', '.join(variant.marks[k])})" for k in keys if k in variant.marks]
        named += [f"{variant.name}: {', '.join(shown)}"] if shown else []
    if named:
        meaning = "the metric resembles a loss that the variant, or the one it is compared with, was trained with"
        yield from ("", f"\\* {meaning}, which flatters it: {'; '.join(named)}")


def _cell(estimate: Estimate | None, score: Score, signed: bool, marked: bool) -> str:
    if estimate is None:
        return ""
    sign = "+" if signed else ""
    mean, low, high = (
        "" if value is None else f"{value * score.scale:{sign}.{score.digits}f}"
        for value in (estimate.mean, estimate.low, estimate.high)
    )
    mark = "\\*" * marked
    if estimate.low is None or estimate.high is None:
        return mean + mark
    if signed and (estimate.low > 0 or estimate.high < 0):
        mean = f"**{mean}**"
    mean += mark
    return f"{mean} [{low}, {high}]" if estimate.interval == "seeds" else f"{mean} ({low}, {high})"


def _seconds_per_step(run: Trial) -> float:
    data = run.config.data
    return round(data.batch_size * data.crop_frames / run.config.model.frame_rate, 2)


def _list(values: Sequence[float]) -> str:
    return " or ".join(f"{value:g}" for value in values)


def _facts(score: Score) -> dict[str, Any]:
    return {name: getattr(score, name) for name in ("title", "better", "digits", "scale")}


def _finite(values: dict[str, Any]) -> Any:
    """Plain data without infinite numbers, which JSON does not have."""
    text = json.dumps(values)
    return json.loads(text, parse_constant=lambda name: None)
