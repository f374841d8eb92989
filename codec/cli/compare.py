"""Train variants of one config at equal budget, over seeds, score them alike and write a table.

Stopped by Ctrl-C or a crash, the same command resumes. The output folder gets table.md, results.json,
figure.png and finished.jsonl, and of each run VARIANT/seed-N/ with export and scores.json. Where those folders
are lost, or lie on another machine, earlier=[finished.jsonl, ...] counts their runs as finished.
"""

from codec.cli.recipe import run_recipe
from codec.compare import CompareConfig, compare
from codec.compare.config import ProbeConfig, SoundConfig
from codec.eval.options import ClipsConfig


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Run ``codec compare`` with these arguments; return the exit status."""
    groups = {
        "scoring.sound.NAME.*": SoundConfig,
        "scoring.probes.NAME.*": ProbeConfig,
        "clips and train hold": ClipsConfig,
    }
    return run_recipe(CompareConfig, compare, __doc__, groups, arguments, program)
