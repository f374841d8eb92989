"""Manifests: JSON lines, one clip a line, shared by training and evaluation."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from codec.atomic import atomic_path, reason
from codec.config import from_dict
from codec.errors import CodecError


@dataclass(frozen=True)
class Clip:
    """One recording of a manifest."""

    path: str
    """Relative to the manifest's folder, or absolute."""
    seconds: float
    speaker: str | None = None
    language: str | None = None
    text: str | None = None
    domain: str = "speech"
    label: str | None = None
    """A class given by the user, for few-shot probes."""
    root: str = ""
    """Folder that ``path`` is relative to; set on reading, not written."""

    @property
    def audio(self) -> Path:
        """Path of the recording."""
        return Path(self.root) / self.path

    @property
    def name(self) -> str:
        """The path without its suffix, with forward slashes: the clip's name in outputs."""
        return Path(self.path).with_suffix("").as_posix().lstrip("/")


def read_manifest(path: str | Path, root: str | None = None) -> list[Clip]:
    """Clips of a JSONL manifest, in order.

    Args:
        root: folder that paths are relative to; by default the manifest's.

    Raises:
        CodecError: when the file or ``root`` is missing, the file is empty, or a line is not a clip (with its number).
    """
    path = Path(path)
    if root is not None and not Path(root).is_dir():
        raise CodecError(f"{root}: no such folder; root is the folder that the paths in {path} are relative to")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CodecError(
            f"{path}: no such manifest or folder; codec prepare writes a manifest of recordings"
        ) from None
    except OSError as error:
        raise CodecError(f"{path}: cannot be read as a manifest ({reason(error)})") from None
    return clips_of(data, str(path), str(path.resolve().parent) if root is None else root)


def clips_of(data: bytes, name: str, root: str) -> list[Clip]:
    """Clips of a manifest called ``name``, given what is in its file, whose paths are relative to ``root``.

    Raises:
        CodecError: when there are none, it is no text, or a line is no clip (with its number).
    """
    try:
        # Of the line breaks only the file's own: others, such as U+2028, belong to a transcript or a name.
        lines = data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        raise CodecError(
            f"{name}: not a manifest, which is text with a JSON object a line; codec prepare writes one of a folder"
        ) from None
    clips = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            if not isinstance(values, dict):
                raise CodecError("expected a JSON object")
            clip = from_dict(Clip, {**values, "root": root})
            if not PurePath(clip.path).name:
                raise CodecError(f"path {clip.path!r} names no file")
            clips.append(clip)
        except (ValueError, TypeError, CodecError) as error:
            raise CodecError(f"{name}:{number}: not a clip ({error})") from None
    if not clips:
        raise CodecError(f"{name}: the manifest is empty; expected one JSON object a line")
    return clips


def thin(clips: list[Clip], count: int | None) -> list[Clip]:
    """``count`` of the clips, evenly spread, or all where there are no more."""
    if count is None or count >= len(clips):
        return clips
    count = max(1, count)
    return [clips[number * len(clips) // count] for number in range(count)]


def write_manifest(path: str | Path, clips: Iterable[Clip]) -> None:
    """Write clips as JSON lines in one step (temporary file, then rename)."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for clip in clips:
            values = dataclasses.asdict(clip)
            del values["root"]
            if values["label"] is None:
                del values["label"]
            line = json.dumps(values, ensure_ascii=False)
            if any("\ud800" <= letter <= "\udfff" for letter in line):
                # Half a character, as of a text that was cut or a name that is not UTF-8: escaped it can be read again.
                line = json.dumps(values)
            file.write(line + "\n")
        file.close()  # before it gets its name
