"""Models of other projects, from their files to ours: ``codec import``."""

from codec.importing import dac, encodec, mimi, speechtokenizer  # noqa: F401  (they register themselves)
from codec.importing.imported import Imported, import_checkpoint

__all__ = ["Imported", "import_checkpoint"]
