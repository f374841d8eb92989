"""Finished runs of a comparison, one JSON line each, by which it goes on elsewhere.

``OUT/finished.jsonl`` holds what a run was made of and its scores, but no model. Where the runs themselves are
lost, or were made on several machines, ``earlier`` in the config names such files, and the table is that of all runs.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.atomic import atomic_path
from codec.compare.config import CompareConfig, ScoringConfig
from codec.compare.plan import Trial
from codec.compare.score import Score, manifests, read_scores
from codec.config import flatten, from_dict, to_dict
from codec.errors import CodecError
from codec.jsonl import read_lines
from codec.train.checkpoint import check_same_run
from codec.train.config import TrainConfig
from codec.train.start import folder_of_weights
from codec.train.tasks.codec import CodecTask
from codec.version import __version__

FILE = "finished.jsonl"
_REMEDY = "Set them back, or leave this file out of earlier"


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        variant: its name.
        seed: of training and quantizer.
        config: settings of the training but for its output folder.
        start: hash of the exported weights that it started from; ``None`` where it started from nothing.
        scoring: settings of the scoring, and the hash of each manifest that it reads.
        version: of the package that made it.
        scores: all of them.
    """

    variant: str
    seed: int
    config: dict[str, Any]
    start: str | None
    scoring: dict[str, Any]
    version: str
    scores: list[Score]


Records = Mapping[tuple[str, int], Record]
"""By variant and seed."""


def read_earlier(config: CompareConfig, runs: Sequence[Trial]) -> Records:
    """The records of a comparison's runs in the files that its config names.

    Raises:
        CodecError: for a file that cannot be read, or a run of the same name that was trained or scored otherwise.
    """
    by_name = {(run.variant, run.seed): run for run in runs}
    found: dict[tuple[str, int], Record] = {}
    for name in config.earlier:
        for number, record in enumerate(_read(Path(name)), start=1):
            run = by_name.get((record.variant, record.seed))
            if run is not None:
                _check(record, run, config.scoring, f"{name}, line {number} ({run.name})")
                found[run.variant, run.seed] = record
    return found


def scores_of(run: Trial, scoring: ScoringConfig, earlier: Records) -> list[Score] | None:
    """Scores of a run that is finished here or elsewhere; ``None`` of one that is not."""
    own = read_scores(run, scoring) if run.trained else None
    record = earlier.get((run.variant, run.seed))
    return record.scores if own is None and record is not None else own


def write_finished(config: CompareConfig, runs: Sequence[Trial], earlier: Records) -> None:
    """Rewrite the file of a comparison, in the order of its runs; those of merges need no line."""
    lines = []
    for run in runs:
        own = read_scores(run, config.scoring) if run.trained else None
        record = earlier.get((run.variant, run.seed)) if own is None else _record(run, config.scoring, own)
        lines += [json.dumps(dataclasses.asdict(record))] if record is not None else []
    with atomic_path(Path(config.output) / FILE) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _record(run: Trial, scoring: ScoringConfig, scores: list[Score]) -> Record:
    config = {key: value for key, value in to_dict(run.config).items() if key != "output"}
    return Record(run.variant, run.seed, config, _start(run), _scoring(scoring), __version__, scores)


def _read(path: Path) -> list[Record]:
    if not path.is_file():
        raise CodecError(f"config earlier: {path} is not a file; {FILE} lies in the output folder of a comparison")
    try:
        return [from_dict(Record, json.loads(line)) for line in read_lines(path)]
    except (OSError, ValueError, CodecError) as error:
        raise CodecError(f"config earlier: {path} is not a {FILE} of a comparison ({error})") from None


def _check(record: Record, run: Trial, scoring: ScoringConfig, where: str) -> None:
    """The run must be what training and scoring it now would give."""
    now = to_dict(run.config)
    before = to_dict(from_dict(TrainConfig, {**record.config, "output": now["output"]}))
    check_same_run(before, now, where, CodecTask.free_settings, _REMEDY)
    # A run may go on for longer or be moved, but only equal budgets, starts and scorings are compared.
    ran = flatten({"max_steps": before["max_steps"], "start": record.start, "scoring": record.scoring})
    would = flatten({"max_steps": now["max_steps"], "start": _start(run), "scoring": _scoring(scoring)})
    changed = [
        f"{key} ({ran.get(key, 'missing')} and now {would.get(key, 'missing')})"
        for key in sorted(ran.keys() | would.keys())
        if ran.get(key) != would.get(key)
    ]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise CodecError(f"{where} differs in {', '.join(changed[:3])}{more}. {_REMEDY}")


def _start(run: Trial) -> str | None:
    if run.config.init_from is None:
        return None
    folder = folder_of_weights(str(run.config.init_from))
    # The manifest of a checkpoint has the digests of its files.
    found = [path for path in (folder / "manifest.json", folder / "model.safetensors") if path.is_file()]
    return _digest(found[0]) if found else None


def _scoring(scoring: ScoringConfig) -> dict[str, Any]:
    texts = {str(path): _digest(path) for path in manifests(scoring) if path.is_file()}
    return {**json.loads(json.dumps(to_dict(scoring))), "manifests": texts}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
