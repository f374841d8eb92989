"""A manifest from an audio folder, another manifest, or a Hugging Face dataset: ``codec prepare``."""

import sys

from codec.cli.prepare import main

if __name__ == "__main__":
    sys.exit(main())
