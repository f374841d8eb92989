"""Models of other projects, from their files to ours: ``codec import``."""

from codec.importing import speechtokenizer  # noqa: F401  (it registers itself)
from codec.importing.imported import Imported, import_checkpoint

__all__ = ["Imported", "import_checkpoint"]
