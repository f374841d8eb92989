"""Transcripts in the folders of the recordings."""

from functools import lru_cache
from pathlib import Path

SIDECARS = (".txt", ".lab", ".normalized.txt")


def sidecar_text(audio: Path) -> str | None:
    """The text of ``x.flac``: from ``x.txt``, ``x.lab`` or ``x.normalized.txt``, else from a
    LibriSpeech ``*.trans.txt`` of the same folder. ``None`` where there is none.
    """
    for suffix in SIDECARS:
        path = audio.with_suffix(suffix)
        if path.is_file():
            return " ".join(path.read_text(encoding="utf-8-sig").split())
    return _folder_texts(audio.parent).get(audio.stem)


@lru_cache(maxsize=8)
def _folder_texts(folder: Path) -> dict[str, str]:
    """Texts by utterance id: each line of a ``.trans.txt`` is the id, a space, the text."""
    texts = {}
    for path in sorted(folder.glob("*.trans.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            texts[name] = text.strip()
    return texts
