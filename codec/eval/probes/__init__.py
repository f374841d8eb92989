"""Probes: what the tokens mean. Phones, text, speaker, and user-given labels."""

from codec.eval.probes.registry import build_probe, probe, probe_names, resemblances
from codec.eval.probes.report import to_markdown
from codec.eval.probes.run import probe_tokens, run_probes
from codec.eval.probes.sources import ModelTokens, TokenSource, TokenTable
from codec.eval.probes.types import Measure, ProbeResult, ProbeTask, Skip

__all__ = [
    "Measure",
    "ModelTokens",
    "ProbeResult",
    "ProbeTask",
    "Skip",
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
