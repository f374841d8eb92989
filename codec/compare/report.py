"""``table.md`` and ``results.json`` of a comparison."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
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
        *_rows(summary, keys, {variant.name: variant.estimates for variant in summary.variants}),
    ]
    differences = {
        f"{variant.name} − {summary.control}": variant.differences
        for variant in summary.variants
        if variant.differences
    }
    if differences:
        lines += [
            "",
            f"Difference from `{summary.control}`, seed by seed; in bold where the interval leaves out zero, as one in",
            "twenty does by chance.",
            "",
            *_rows(summary, keys, differences, signed=True),
        ]
    return "\n".join(lines) + "\n"


def _rows(
    summary: Summary, keys: Sequence[str], rows: dict[str, dict[str, Estimate]], signed: bool = False
) -> Iterator[str]:
    titles = [summary.scores[key].title + _ARROWS[summary.scores[key].better] for key in keys]
    yield "| " + " | ".join(["variant", "seeds", *titles]) + " |"
    yield "|---|" + "---:|" * (len(titles) + 1)
    for name, estimates in rows.items():
        if not estimates:
            continue
        seeds = max(len(estimate.values) for estimate in estimates.values())
        cells = [_cell(estimates.get(key), summary.scores[key], signed) for key in keys]
        yield "| " + " | ".join([name, str(seeds), *cells]) + " |"


def _cell(estimate: Estimate | None, score: Score, signed: bool) -> str:
    if estimate is None:
        return ""
    sign = "+" if signed else ""
    mean, low, high = (
        "" if value is None else f"{value * score.scale:{sign}.{score.digits}f}"
        for value in (estimate.mean, estimate.low, estimate.high)
    )
    if estimate.low is None or estimate.high is None:
        return mean
    if signed and (estimate.low > 0 or estimate.high < 0):
        mean = f"**{mean}**"
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
