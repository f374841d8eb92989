"""Run probes on a model, or on any tokenizer's codes, and keep what is done."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import codec
from codec.atomic import atomic_path
from codec.config import from_dict
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes.registry import Probe, build_probe
from codec.eval.probes.sources import ModelTokens, TokenSource
from codec.eval.probes.types import ProbeResult, ProbeTask
from codec.eval.types import clip_signature
from codec.model.codec import Codec


def run_probes(
    model: Codec,
    clips: list[Clip],
    train_clips: list[Clip] | None,
    which: list[str],
    seed: int,
    out: Path,
    options: dict[str, dict[str, Any]] | None = None,
) -> dict[str, ProbeResult]:
    """Probe the tokens of a model.

    Args:
        clips: what is measured; needs ``text``, ``speaker`` or ``label``, depending on the probe.
        train_clips: more clips, of other speakers, for the probes that train on many.
        which: names of probes (``phone``, ``text``, ``speaker``, ``fewshot``).
        out: folder for ``<probe>.json`` and ``alignments.jsonl``; a second run with the same
            arguments reads them instead of working again.
        options: by probe name, values of its ``Config``.

    Raises:
        CodecError: for an unknown probe or option, or clips that a probe cannot work with, before
            any work starts. Single bad clips are listed in the results instead.
    """
    return probe_tokens(ModelTokens(model), clips, train_clips, which, seed, out, options)


def probe_tokens(
    tokens: TokenSource,
    clips: list[Clip],
    train_clips: list[Clip] | None,
    which: list[str],
    seed: int,
    out: Path,
    options: dict[str, dict[str, Any]] | None = None,
) -> dict[str, ProbeResult]:
    """Probe the tokens of any source, e.g. :class:`TokenTable`; otherwise as :func:`run_probes`."""
    return probe_task(ProbeTask(tokens, list(clips), list(train_clips or []), seed, Path(out)), which, options)


def probe_task(
    task: ProbeTask, which: list[str], options: dict[str, dict[str, Any]] | None = None
) -> dict[str, ProbeResult]:
    """The same, of a source and clips that belong together already."""
    options = options or {}
    stray = sorted(set(options) - set(which))
    if stray:
        raise CodecError(f"options for probes that are not run: {', '.join(stray)}")
    probes = {name: build_probe(name, options.get(name)) for name in which}
    for probe in probes.values():
        probe.check(task)
    for folder in (task.out, task.shared or task.out):
        folder.mkdir(parents=True, exist_ok=True)
    return {name: _run_once(probe, task) for name, probe in probes.items()}


def _run_once(probe: Probe, task: ProbeTask) -> ProbeResult:
    path, key = task.out / f"{probe.name}.json", _key(probe, task)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return from_dict(ProbeResult, kept["result"])
    except (OSError, ValueError, KeyError, CodecError):
        pass
    result = probe.run(task)
    text = json.dumps({"key": key, "result": dataclasses.asdict(result)}, indent=1)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return result


def _key(probe: Probe, task: ProbeTask) -> str:
    """All that a result depends on."""
    parts: list[Any] = [codec.__version__, probe.name]
    parts += [dataclasses.asdict(probe.config), task.tokens.fingerprint]
    parts += [task.seed, *([_described(clip) for clip in clips] for clips in (task.clips, task.train_clips))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _described(clip: Clip) -> list[Any]:
    return [dataclasses.asdict(clip), clip_signature(clip)]
