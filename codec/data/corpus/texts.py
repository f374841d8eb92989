"""Transcripts in the folders of the recordings."""

from functools import lru_cache
from pathlib import Path

from codec.atomic import reason
from codec.errors import CodecError

SIDECARS = (".txt", ".lab", ".normalized.txt")
TEXT_SUFFIXES = (".txt", ".lab")
"""Of all files that texts are read from."""


def sidecar_text(audio: Path) -> str | None:
    """The text of ``x.flac``: from ``x.txt``, ``x.lab`` or ``x.normalized.txt``, else from a
    LibriSpeech ``*.trans.txt`` of the same folder. ``None`` where there is none.

    Raises:
        CodecError: when the text is not UTF-8, or cannot be read.
    """
    for suffix in SIDECARS:
        path = audio.with_suffix(suffix)
        if path.is_file():
            return " ".join(_read(path).split())
    return _folder_texts(audio.parent).get(audio.stem)


@lru_cache(maxsize=8)
def _folder_texts(folder: Path) -> dict[str, str]:
    """Texts by utterance id: each line of a ``.trans.txt`` is the id, a space, the text."""
    texts = {}
    for path in sorted(folder.glob("*.trans.txt")):
        for line in _read(path).split("\n"):
            name, _, text = line.partition(" ")
            texts[name] = text.strip()
    return texts


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise CodecError(
            f"{path}: the text is not UTF-8; convert it, as with iconv -f LATIN1 -t UTF-8, or move it away"
        ) from None
    except OSError as error:
        raise CodecError(f"{path}: the text cannot be read ({reason(error)})") from None
