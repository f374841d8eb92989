"""Train a codec with distillation from a speech teacher alone.

``accelerate launch recipes/train_sm.py --config default [KEY.SUB=VALUE ...]``

The config may be that of train_lm_sm.py: its language teacher and distill_lm are omitted.
"""

import sys

from codec.cli.train import main

if __name__ == "__main__":
    sys.exit(main(__doc__, without=("lm",)))
