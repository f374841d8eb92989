"""The report as Markdown."""

from codec.console import counted
from codec.eval.report.content import Report
from codec.eval.report.table import (
    CODING_HEADINGS,
    MARK,
    clip_counts,
    coding_cells,
    doubt_lines,
    fewer_lines,
    figure_cells,
    heading,
    mark_lines,
    omission_lines,
)


def to_markdown(report: Report) -> str:
    """Tables, skipped measurements, and the versions used."""
    sections = [
        "# Evaluation",
        f"{counted(len(report.clips), 'clip')}, {report.seconds / 60:.1f} minutes.",
        f"```\n{report.about.command}\n```",
        _figures(report),
        _coding(report),
        _codebooks(report),
        _probes(report),
        _list("Skipped", omission_lines(report) or ["nothing"]),
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
    # A backslash before the asterisk, which would begin a list.
    table = "\n\n".join([table, *(line.replace(MARK, f"\\{MARK}", 1) for line in mark_lines(report))])
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
    if not report.probes:
        return ""
    from codec.eval.probes import to_markdown as probes_to_markdown

    sections = [
        f"### {name}\n\n{probes_to_markdown(found, report.probe_marks.get(name, ())).strip()}"
        for name, found in report.probes.items()
    ]
    return "\n\n".join(["## What the tokens mean", *sections])


def _means(report: Report) -> list[str]:
    return [
        *fewer_lines(report),
        *doubt_lines(report),
        (
            "every figure is pooled over the clips that all systems were scored on by that measure; "
            "report.json has each system's own figure too"
        ),
        f"95 % intervals: bootstrap over speakers, 1000 draws, seed {report.about.seed}",
        "kbps: bits of the codes or packets, without the container, over the clips' length",
        "delay: median of what was found by cross-correlation and removed before scoring; our models have none",
        (
            "RTF: seconds of computing per second of audio on one thread of this machine; for "
            "command-line tools that includes starting them"
        ),
    ]


def _list(title: str, items: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {item}" for item in items)
