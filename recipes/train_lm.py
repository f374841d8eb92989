"""Train a codec with distillation from a language teacher alone ("LM-guided").

``accelerate launch recipes/train_lm.py --config default [KEY.SUB=VALUE ...]``

The config may be that of train_lm_sm.py: its speech teacher and distill_sm are omitted.
"""

import sys

from codec.cli.train import main

if __name__ == "__main__":
    sys.exit(main(__doc__, without=("sm",)))
