"""Choice of an evaluation's clips."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from codec.audio.io import AUDIO_SUFFIXES, duration_of
from codec.console import counted, print_note
from codec.data.manifest import Clip, read_manifest, thin
from codec.data.search import search_folder
from codec.errors import CodecError
from codec.eval.options import ClipsConfig, Selection


def read_clips(source: str | Path, root: str | None = None) -> list[Clip]:
    """Clips of a manifest, whose paths begin in ``root`` or else in its own folder, or of a folder of recordings.

    In a folder the sub-folder is the speaker, and there are no texts. A file that cannot be opened
    stays in the list with a length of zero, so that the report can list it.

    Raises:
        CodecError: when there is nothing to read.
    """
    source = Path(source)
    if not source.is_dir():
        return read_manifest(source, root)
    files = search_folder(source, AUDIO_SUFFIXES).found
    if not files:
        raise CodecError(f"{source}: no recordings ({', '.join(AUDIO_SUFFIXES)}) in this folder")
    return [
        Clip(
            path=path.relative_to(source).as_posix(),
            seconds=_seconds(path),
            speaker=path.parent.name if path.parent != source else None,
            root=str(source.resolve()),
        )
        for path in files
    ]


def folder_notes(source: str | Path) -> list[str]:
    """Skipped files in a folder of recordings, and unreadable ones; one line each."""
    if not Path(source).is_dir():
        return []
    search = search_folder(Path(source), AUDIO_SUFFIXES)
    return [*search.unreadable, *([summary] if (summary := search.summary()) else [])]


def print_folder_notes(sources: Iterable[str | Path]) -> None:
    """Say what :func:`folder_notes` finds, once for each folder."""
    for source in dict.fromkeys(map(Path, sources)):
        for note in folder_notes(source):
            print_note(f"note: {note}")


def select(clips: list[Clip], selection: Selection) -> list[Clip]:
    """The clips of a selection, in name order.

    Raises:
        CodecError: when none is left, or two clips have one name.
    """
    names = Counter(clip.name for clip in clips)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise CodecError(
            f"{counted(len(twice), 'name')} of more than one clip, first {twice[0]!r}; each clip needs its own"
        )
    # A length of zero is an unreadable file: it is kept, to be counted with its reason.
    chosen = [
        clip
        for clip in sorted(clips, key=lambda clip: clip.name)
        if clip.seconds == 0 or selection.min_seconds <= clip.seconds <= selection.max_seconds
    ]
    if selection.per_speaker is not None:
        seen: Counter[str | None] = Counter()
        kept = []
        for clip in chosen:
            seen[clip.speaker] += 1
            if seen[clip.speaker] <= selection.per_speaker:
                kept.append(clip)
        chosen = kept
    chosen = chosen[: selection.limit]
    if not chosen:
        raise CodecError(f"none of {len(clips)} clips fits the selection; widen it")
    return chosen


def open_clips(config: ClipsConfig) -> list[Clip]:
    """Clips of all manifests in name order, thinned evenly to ``max_clips``.

    Raises:
        CodecError: for a manifest or recording that is not there, or a selection without clips.
    """
    clips = [clip for source in config.manifests for clip in read_clips(source, config.root)]
    clips = thin(select(clips, config.selection), config.max_clips)
    missing = [clip for clip in clips if not clip.audio.is_file()]
    if missing:
        raise CodecError(
            f"{missing[0].audio}: no such recording ({len(missing)} of {len(clips)} are missing)"
        )
    return clips


def check_found(clips: list[Clip]) -> None:
    """Raise a :class:`CodecError` if none of the recordings is there; a few missing ones are skipped and counted."""
    if not any(clip.audio.is_file() for clip in clips):
        raise CodecError(
            f"{clips[0].audio}: no such recording, nor any other of {len(clips)}; set root to the folder that the "
            "manifest's paths are relative to"
        )


def _seconds(path: Path) -> float:
    try:
        return duration_of(path)
    except CodecError:
        return 0.0
