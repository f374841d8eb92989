"""All forms of a report, into one folder."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from codec.atomic import atomic_path
from codec.eval.job import CODING, file_name
from codec.eval.report.content import Report
from codec.eval.report.html import to_html
from codec.eval.report.listening import choose_listening
from codec.eval.report.markdown import to_markdown
from codec.eval.report.plots import rate_quality, spectrogram_figure


def write_report(report: Report, folder: Path, players: int = 3) -> None:
    """Write ``report.json``, ``report.md``, ``report.html`` and ``plots/*.png``.

    Args:
        report: what was found.
        folder: of the evaluation, with the systems' outputs.
        players: clips to listen to in the page.
    """
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    curves = rate_quality(report)
    if curves:
        _write(plots / "rate-quality.png", curves)
    listening = choose_listening(report, folder, players)
    for item in listening:
        name = item.clip.name
        _write(plots / f"spectrograms-{file_name(name)}.png", spectrogram_figure(item.outputs, name))
    _write(folder / "report.json", to_json(report).encode())
    _write(folder / "report.md", to_markdown(report).encode())
    _write(folder / "report.html", to_html(report, listening, curves).encode())


def to_json(report: Report) -> str:
    """Everything, per file. What varies from run to run is under keys that hold seconds or RTF."""
    files: dict[str, dict[str, dict[str, Any]]] = {}
    for row in report.rows:
        entry = files.setdefault(row.clip, {}).setdefault(
            row.system, {"values": {}, "notes": {}, "skipped": {}}
        )
        values = {f"{CODING}_{k}": v for k, v in row.values.items()} if row.measure == CODING else row.values
        entry["values"] |= values
        entry["notes"] |= row.notes
        if row.skipped is not None:
            entry["skipped"][row.measure] = row.skipped
    content = {
        "about": dataclasses.asdict(report.about),
        "clips": [{k: v for k, v in dataclasses.asdict(c).items() if k != "root"} for c in report.clips],
        "columns": [dataclasses.asdict(column) for column in report.columns],
        "systems": [dataclasses.asdict(system) for system in report.systems],
        "files": files,
        "probes": {
            system: {name: dataclasses.asdict(result) for name, result in probes.items()}
            for system, probes in report.probes.items()
        },
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _write(path: Path, data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
