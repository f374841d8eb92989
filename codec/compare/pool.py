"""Runs through an executor, a few at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codec.compare.config import CompareConfig
from codec.compare.plan import Trial
from codec.compare.worker import STOPPED, Order, perform
from codec.jobs.executor import Executor, LocalExecutor, Lost


@dataclass(frozen=True)
class Ended:
    """The end of a run: ``problem`` is one line, or ``None`` when it was trained and scored."""

    run: Trial
    problem: str | None


def run_all(
    config: CompareConfig,
    runs: Sequence[Trial],
    started: Callable[[Trial], None],
    ended: Callable[[Ended], None],
    executor: Executor | None = None,
) -> None:
    """Train and score every run; one that fails does not stop the others.

    When this process ends, by Ctrl-C or otherwise, the runs save their state and end as well.

    Args:
        config: of the comparison.
        runs: in the order in which they are started.
        started: called before each run.
        ended: called after each run.
        executor: where they run; in processes of this machine by default.
    """
    here = config.jobs == 0 and executor is None
    shared = Path(config.output)
    orders = [Order(run, config.scoring, shared, None if here else run.folder / "output.txt") for run in runs]

    def done(index: int, result: str | Lost | None) -> None:
        if here and result == STOPPED:
            # The signal was for the whole comparison.
            raise KeyboardInterrupt
        problem = f"{result.reason} ({orders[index].output})" if isinstance(result, Lost) else result
        ended(Ended(runs[index], problem))

    if executor is None:
        # Seconds do not suffice to save a large model, and what is not saved may be hours of work.
        executor = LocalExecutor(config.jobs, config.timeout, config.threads, fresh=True, grace=None)
    executor.run(perform, orders, done, lambda index: started(runs[index]))
