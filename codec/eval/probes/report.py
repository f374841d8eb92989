"""Results of probes as a markdown table."""

from collections import Counter
from collections.abc import Container

from codec.eval.probes.types import Finding, ProbeResult


def to_markdown(results: dict[str, ProbeResult], marked: Container[str] = ()) -> str:
    """One table over all probes, then skipped clips by reason, and notes.

    Args:
        results: by name of the probe.
        marked: probes whose results get an asterisk, since they resemble a loss of the model.
    """
    lines = [
        "| probe | measure | codebooks | features | value | 95 % CI | no information | better | clips |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        mark = "*" if name in marked else ""
        lines += [_row(name, measure, mark) for measure in result.measures]
    remarks = []
    for name, result in results.items():
        for reason, count in Counter(skip.reason for skip in result.skipped).most_common():
            remarks.append(f"- {name}: {count} clip{'s' * (count > 1)} skipped: {reason}")
        remarks += [f"- {name}: {note}" for note in result.notes]
    return "\n".join(lines + [""] * bool(remarks) + remarks) + "\n"


def _row(probe: str, measure: Finding, mark: str) -> str:
    interval = "–"
    if measure.low is not None and measure.high is not None:
        interval = f"{measure.low:.3f} to {measure.high:.3f} ({measure.units} {measure.unit}s)"
    cells = [
        probe,
        measure.name.replace("_", " "),
        measure.codebooks,
        measure.features,
        f"{measure.value:.3f}{mark}",
        interval,
        f"{measure.baseline:.3f}",
        measure.better,
        str(measure.clips),
    ]
    return "| " + " | ".join(cells) + " |"
