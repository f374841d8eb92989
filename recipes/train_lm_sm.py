"""Train a codec with distillation from a language and a speech teacher.

``accelerate launch recipes/train_lm_sm.py --config default [KEY.SUB=VALUE ...]``
"""

import sys

from codec.cli.train import main

if __name__ == "__main__":
    sys.exit(main(__doc__))
