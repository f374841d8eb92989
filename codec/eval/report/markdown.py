"""The report as Markdown."""

from codec.eval.report.content import Report
from codec.eval.report.table import (
    CODING_HEADINGS,
    clip_counts,
    coding_cells,
    fewer_lines,
    figure_cells,
    heading,
    omission_lines,
)


def to_markdown(report: Report) -> str:
    """Tables, what was left out, and what it was made with."""
    sections = [
        "# Evaluation",
        f"{len(report.clips)} clips, {report.seconds / 60:.1f} minutes.",
        f"```\n{report.about.command}\n```",
        _figures(report),
        _coding(report),
        _codebooks(report),
        _probes(report),
        _list("Left out", omission_lines(report) or ["nothing"]),
        _list("Means", _means(report)),
        _list("Measures", [f"{name}: {text}" for name, text in report.about.measures.items()]),
        _list("Versions", [f"{name} {version}" for name, version in report.about.versions.items()]),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def markdown_table(headings: list[str], rows: list[list[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _figures(report: Report) -> str:
    cells = figure_cells(report)
    plain = [
        [system.label, coding_cells(system)[0], *(cell.text for cell in cells[system.label])]
        for system in report.systems
    ]
    ranges = [
        [system.label, *(cell.interval or "–" for cell in cells[system.label])] for system in report.systems
    ]
    headings = [heading(column) for column in report.columns]
    counts = ["clips", "", *(str(count) for count in clip_counts(report).values())]
    table = markdown_table(["system", "kbps", *headings], [*plain, counts])
    if all(cell == "–" for row in ranges for cell in row[1:]):
        return table
    return f"{table}\n\n95 % intervals:\n\n{markdown_table(['system', *headings], ranges)}"


def _coding(report: Report) -> str:
    rows = [[system.label, *coding_cells(system)] for system in report.systems]
    return "## Rate, delay and speed\n\n" + markdown_table(["system", *CODING_HEADINGS], rows)


def _codebooks(report: Report) -> str:
    rows = [
        [
            system.label,
            str(use.layer),
            str(use.size),
            f"{100 * use.used:.1f} %",
            f"{use.perplexity:.1f}",
            f"{use.entropy:.2f}",
            str(use.frames),
        ]
        for system in report.systems
        for use in system.codebooks
    ]
    if not rows:
        return ""
    headings = ["system", "layer", "entries", "used", "perplexity", "bits per code", "codes"]
    return "## Codebooks\n\n" + markdown_table(headings, rows)


def _probes(report: Report) -> str:
    sections = []
    for system, probes in report.probes.items():
        rows, notes = probe_rows(probes)
        headings = ["probe", "measure", "codebooks", "tokens as", "value", "95 %", "no information", "clips"]
        sections.append(f"### {system}\n\n{markdown_table(headings, rows)}")
        sections.append("\n".join(f"- {note}" for note in notes))
    return "## What the tokens mean\n\n" + "\n\n".join(filter(None, sections)) if sections else ""


def probe_rows(probes: dict[str, dict]) -> tuple[list[list[str]], list[str]]:
    """Table rows and notes of one system's probes, given as plain data."""
    rows, notes = [], []
    for name, probe in probes.items():
        for m in probe["measures"]:
            interval = "–" if m["low"] is None else f"{m['low']:.3f}–{m['high']:.3f}"
            figures = [f"{m['value']:.3f}", interval, f"{m['baseline']:.3f}", str(m["clips"])]
            rows.append(
                [name, f"{m['name']} ({m['better']} is better)", m["codebooks"], m["features"], *figures]
            )
        notes += [f"{name}: {note}" for note in probe["notes"]]
        reasons: dict[str, int] = {}
        for skip in probe["skipped"]:
            reasons[skip["reason"]] = reasons.get(skip["reason"], 0) + 1
        notes += [f"{name}: {count} clips left out: {reason}" for reason, count in reasons.items()]
    return rows, notes


def _means(report: Report) -> list[str]:
    return [
        *fewer_lines(report),
        "every figure is pooled over the clips that all systems were scored on by that measure; "
        "report.json has each system's own figure too",
        f"95 % intervals: bootstrap over speakers, 1000 draws, seed {report.about.seed}",
        "kbps: bits of the codes or packets, without the container, over the clips' length",
        "delay: median of what was found by cross-correlation and removed before scoring",
        "RTF: seconds of computing per second of sound on one thread of this machine; for command-line "
        "tools that includes starting them",
    ]


def _list(title: str, items: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {item}" for item in items)
