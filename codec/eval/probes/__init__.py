"""Probes: which information the tokens carry about phones, text, speaker and labels of the user."""

from codec.deprecation import renamed
from codec.eval.probes.registry import build_probe, probe, probe_names, resemblances
from codec.eval.probes.report import to_markdown
from codec.eval.probes.run import probe_tokens, run_probes
from codec.eval.probes.sources import ModelTokens, TokenSource, TokenTable
from codec.eval.probes.types import Finding, Omitted, ProbeResult, ProbeTask

__all__ = [
    "Finding",
    "ModelTokens",
    "Omitted",
    "ProbeResult",
    "ProbeTask",
    "TokenSource",
    "TokenTable",
    "build_probe",
    "probe",
    "probe_names",
    "probe_tokens",
    "resemblances",
    "run_probes",
    "to_markdown",
]

__getattr__ = renamed(__name__, {"Measure": ("Finding", Finding), "Skip": ("Omitted", Omitted)})

__getattr__ = renamed(__name__, {"Measure": ("Finding", Finding), "Skip": ("Omitted", Omitted)})
