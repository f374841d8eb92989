"""An evaluation from request to rows: what to do, what is done already, and the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.eval.align import MAX_DELAY_SECONDS, Method
from codec.eval.job import Job
from codec.eval.measures.base import Measure, digest
from codec.eval.options import TIMEOUT
from codec.eval.pool import run_jobs
from codec.eval.store import ResultStore
from codec.eval.systems.base import System
from codec.eval.types import Row, clip_signature


@dataclass(frozen=True)
class Request:
    """The input of an evaluation.

    Attributes:
        clips: at least one, names unique.
        systems: in the table's order, labels unique.
        measures: metrics, ready to use.
        out: folder of the report; results of an earlier run in it are used again.
        workers: processes with one thread each; 0 works in this process.
        max_delay: seconds within which the delay of an output is looked for.
        align: how; see :func:`codec.eval.align.find_delay`.
        timeout: seconds for one clip and system, in a worker process; then it is skipped, with the reason.
    """

    clips: Sequence[Clip]
    systems: Sequence[System]
    measures: Sequence[Measure]
    out: Path
    workers: int = 2
    max_delay: float = MAX_DELAY_SECONDS
    align: Method = "waveform"
    timeout: float | None = TIMEOUT


@dataclass(frozen=True)
class Outcome:
    """The outcome of an evaluation.

    Attributes:
        rows: one for every system that could run, clip and measure, coding included.
        absent: by label, the reason why a system could not run.
        reused: measurements taken from an earlier run.
    """

    rows: list[Row]
    absent: dict[str, str] = field(default_factory=dict)
    reused: int = 0


def run(request: Request, progress: Callable[[int, int], None] = lambda done, total: None) -> Outcome:
    """Run what is not done yet.

    Args:
        request: what to evaluate.
        progress: called with jobs done and jobs in all.

    Raises:
        CodecError: when there is nothing to evaluate, or two systems have one name.
    """
    _check(request)
    request.out.mkdir(parents=True, exist_ok=True)
    store = ResultStore(request.out / "results.jsonl")
    absent = {s.label: reason for s in request.systems if (reason := s.missing())}
    present = [system for system in request.systems if system.label not in absent]
    planner = _Planner(request, store, present)
    plans = [planner.job(clip, system) for clip in request.clips for system in present]
    jobs = [job for job in plans if job.measures or job.coded is None]
    finished = len(plans) - len(jobs)
    progress(finished, len(plans))

    def done(_job: Job, rows: list[Row]) -> None:
        nonlocal finished
        finished += 1
        store.add(rows)
        progress(finished, len(plans))

    reused = sum(len(request.measures) - len(job.measures) for job in plans)
    run_jobs(jobs, request.workers, done, request.timeout)
    rows = [store.rows[key] for job in plans for key in (job.coding_key, *job.keys.values())]
    return Outcome(rows, absent, reused)


def _check(request: Request) -> None:
    if not request.clips:
        raise CodecError("no clips to evaluate")
    if not request.systems:
        raise CodecError("no systems to evaluate; name a --model or --baselines")
    labels = [system.label for system in request.systems]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise CodecError(f"two systems are called {twice[0]!r}; name each once")
    for system in request.systems:
        system.check(request.clips)


class _Planner:
    """Makes jobs of what no earlier run has done."""

    def __init__(self, request: Request, store: ResultStore, systems: list[System]):
        self.request = request
        self.store = store
        # Asking a tool for its version starts a process, so once is enough.
        self.systems = {system.label: system.signature() for system in systems}
        self.measures = {measure.name: measure.signature() for measure in request.measures}

    def job(self, clip: Clip, system: System) -> Job:
        """The job of a clip and a system, without the measures that are stored already."""
        alignment = "aligned" if system.aligned else f"{self.request.max_delay} {self.request.align}"
        coding_key = digest(
            f"{system.label}\n{self.systems[system.label]}\n{system.clip_signature(clip)}\n"
            f"{clip_signature(clip)}\n{alignment}"
        )
        keys = {
            name: digest(f"{coding_key}\n{signature}\n{clip.text}\n{clip.language}")
            for name, signature in self.measures.items()
        }
        request = self.request
        job = Job(clip, system, (), coding_key, None, keys, request.out, request.max_delay, request.align)
        coded = self.store.rows[coding_key] if self.store.scored(coding_key) and job.has_audio else None
        todo = tuple(m for m in request.measures if not (coded and self.store.scored(keys[m.name])))
        return replace(job, measures=todo, coded=coded)
