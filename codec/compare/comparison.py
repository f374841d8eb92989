"""A whole comparison: check, train, score, and keep the table up to date."""

from collections.abc import Sequence
from pathlib import Path

import torch

from codec.compare.config import CompareConfig
from codec.compare.figure import write_figure
from codec.compare.frontier import write_frontier
from codec.compare.merges import make_merges, plan_merges
from codec.compare.plan import Trial, check_runs, plan_runs
from codec.compare.pool import Ended, run_all
from codec.compare.records import Records, read_earlier, scores_of, write_finished
from codec.compare.report import choose, write_results, write_table
from codec.compare.score import check_scoring, manifests, read_scores
from codec.compare.summary import summarize_runs
from codec.errors import CodecError
from codec.eval.clips import print_folder_notes
from codec.precision import warn_of_slow_variants
from codec.train.tasks.codec import CodecTask


def compare(config: CompareConfig) -> int:
    """Do what is left of a comparison.

    Finished runs are skipped, those of ``earlier`` files too, interrupted ones resume from their checkpoint, and table,
    results, figure and ``finished.jsonl`` are rewritten after every run.

    Returns:
        exit status: 1 when a run failed, else 0.

    Raises:
        CodecError: for whatever can be found wrong before the first run.
    """
    runs = plan_runs(config)
    merges = plan_merges(config, runs)
    _check_patterns(config, check_scoring(config.scoring, [run.config.model for run in runs]))
    print_folder_notes(manifests(config.scoring))
    earlier = read_earlier(config, runs)
    left = [run for run in runs if scores_of(run, config.scoring, earlier) is None]
    check_runs(run for run in runs if run in left or (run.variant, run.seed) not in earlier)
    Path(config.output).mkdir(parents=True, exist_ok=True)
    _say(f"{len(runs)} runs, {len(runs) - len(left)} of them finished")
    if not torch.cuda.is_available():
        # Each run says so too, but into its own output, and by keys of its own config.
        new = [run for run in left if not run.trained and not run.step]
        warn_of_slow_variants([(run.variant, CodecTask.settings(run.config)) for run in new])
    failed = []

    def started(run: Trial) -> None:
        state = "scoring" if run.trained else f"training from step {run.step or 0}"
        _say(f"{run.name}: {state}")

    def ended(how: Ended) -> None:
        _say(f"{how.run.name}: {'done' if how.problem is None else how.problem}")
        if how.problem is None:
            write_all(config, runs, merges, earlier)
        else:
            failed.append(how.run)

    if len(left) < len(runs):
        write_all(config, runs, merges, earlier)
    run_all(config, left, started, ended)
    made = [trial for trial in make_merges(merges) if read_scores(trial, config.scoring) is None]
    run_all(config, made, started, ended)
    write_all(config, runs, merges, earlier)
    if failed:
        _say(f"{len(failed)} of {len(left) + len(made)} runs failed; the same command tries them again")
    return int(bool(failed))


def write_all(config: CompareConfig, runs: Sequence[Trial], merges: Sequence[Trial], earlier: Records) -> None:
    """Table, results, figure and records of all runs that are trained and scored."""
    every = [*runs, *merges]
    found = [(run, scores_of(run, config.scoring, earlier)) for run in every]
    summary = summarize_runs(config, [(run, scores) for run, scores in found if scores is not None])
    write_finished(config, runs, earlier)
    write_results(config, every, summary)
    write_table(config, every, summary)
    write_figure(config, summary)
    write_frontier(config, summary)


def _check_patterns(config: CompareConfig, keys: list[str]) -> None:
    """Every pattern must fit a score; of a probe's scores only the probe is known beforehand."""
    for name, patterns in (("table", config.table), ("figure", config.figure), ("frontier", config.frontier or ())):
        for pattern in patterns:
            probe = pattern.partition("/")[0]
            if probe not in config.scoring.probes and not choose(keys, [pattern]) and pattern != "*":
                known = ", ".join([*keys, *(f"{probe}/*" for probe in config.scoring.probes)])
                raise CodecError(f"config {name}: no score fits {pattern!r}; known: {known}")


def _say(line: str) -> None:
    print(line, flush=True)
