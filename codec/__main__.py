"""``python -m codec``: the command where it is not installed."""

import sys

from codec.cli import main

if __name__ == "__main__":
    sys.exit(main())
