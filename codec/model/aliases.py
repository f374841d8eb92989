"""Earlier names of a model's tokens: ``aliases.json`` next to its weights.

When the way in which fingerprints are made changes, tokens keep the name that they got. The file lists such
names together with the fingerprint of the weights for which they stood, and counts for those alone.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from codec.atomic import atomic_path, reason
from codec.config import from_dict
from codec.errors import CodecError

FILE = "aliases.json"


@dataclass(frozen=True)
class Aliases:
    """Content of ``aliases.json``."""

    fingerprint: str = ""
    """Fingerprint of the weights for which the other names stood."""
    former: tuple[str, ...] = ()
    """Fingerprints that the same weights had before."""

    def cover(self, fingerprint: str, other: str) -> bool:
        """Whether ``other`` is an earlier name of the model whose fingerprint is ``fingerprint``."""
        return fingerprint == self.fingerprint and other in self.former


def read_aliases(folder: Path) -> Aliases:
    """Read the aliases in a model's folder; there are none without the file.

    Raises:
        CodecError: when the file is damaged.
    """
    path = folder / FILE
    try:
        return from_dict(Aliases, json.loads(path.read_text(encoding="utf-8")), "aliases")
    except FileNotFoundError:
        return Aliases()
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({reason(error)})") from None
    except (ValueError, CodecError) as error:
        raise CodecError(f"{path}: damaged ({error}); delete it, or get it again") from None


def write_aliases(folder: Path, aliases: Aliases) -> None:
    """Write the file, or remove one that is left from another model where there are no aliases."""
    path = folder / FILE
    if not aliases.former:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(aliases), indent=1) + "\n", encoding="utf-8")
