"""Variants of one config at equal budget: ``codec compare``."""

import sys

from codec.cli.compare import main

if __name__ == "__main__":
    sys.exit(main())
