"""Teachers' features for a manifest: ``codec features``."""

import sys

from codec.cli.features import main

if __name__ == "__main__":
    sys.exit(main())
