"""Train variants of one config at equal budget, over seeds, score them alike and write a table.

``python recipes/compare.py --config recipes/configs/ablation.yaml [KEY.SUB=VALUE ...]``

Stopped by Ctrl-C or a crash, the same command goes on. The output folder gets ``table.md``,
``results.json`` and ``figure.png``, and of each run ``VARIANT/seed-N/`` with ``export`` and ``scores.json``.
"""

import sys

from codec.cli.recipe import run_recipe
from codec.compare import CompareConfig, compare
from codec.compare.config import ProbeConfig, SoundConfig
from codec.eval.clips import ClipsConfig

if __name__ == "__main__":
    groups = {
        "scoring.sound.NAME.*": SoundConfig,
        "scoring.probes.NAME.*": ProbeConfig,
        "clips and train hold": ClipsConfig,
    }
    try:
        sys.exit(run_recipe(CompareConfig, compare, __doc__, groups))
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)
