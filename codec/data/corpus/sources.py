"""Clips from a folder or a manifest; see :mod:`codec.data.corpus.hub` for datasets of the hub."""

import dataclasses
import itertools
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from codec.audio.io import AUDIO_SUFFIXES
from codec.data import Clip, read_manifest
from codec.data.corpus.probe import DecodedLengths, lengths
from codec.data.corpus.texts import TEXT_SUFFIXES, sidecar_text
from codec.data.search import search_folder
from codec.errors import CodecError
from codec.progress import ProgressBar


@dataclass(frozen=True)
class CorpusConfig:
    """The clips of a manifest, and their fields."""

    source: str
    """An audio folder, a JSONL manifest, or a Hugging Face dataset id."""
    output: str
    """The manifest to write; its paths are relative to its folder where that is possible."""
    root: str | None = None
    """Folder that paths below it are relative to, instead of the manifest's; training then needs data.root."""
    kind: Literal["auto", "folder", "manifest", "hub"] = "auto"
    """auto: a folder if it is one, a manifest if it ends in .jsonl, else a dataset id."""
    speaker: Literal["none", "parent", "top"] = "parent"
    """Speaker of a folder's clips: the name of the file's folder, or of the first folder below the source."""
    speaker_regex: str | None = None
    """Searched in the path below the source; its first group is the speaker, before the above."""
    language: str | None = None
    """Language of clips that name none."""
    domain: str | None = None
    """Domain of the clips; by default a manifest's own, and speech for everything else."""
    include: str | None = None
    """Pattern for the path of clips below the source (or in the manifest), e.g. ``read/*``."""
    extensions: tuple[str, ...] | None = None
    """Suffixes of a folder's files; by default all that can be read."""
    min_seconds: float = 0.1
    max_seconds: float | None = None
    verify: bool = True
    """Decode every file to find damage and NaN; false only reads headers."""
    limit: int | None = None
    """Limit on the number of clips; the first ones are kept."""
    subset: str | None = None
    """Name of a dataset's configuration."""
    split: str = "train"
    """Split of a dataset."""
    audio_column: str = "audio"
    text_column: str | None = "text"
    speaker_column: str | None = "speaker_id"
    language_column: str | None = None
    source_root: str | None = None
    """Folder that a source manifest's paths are relative to; its own by default."""
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Threads that read recordings; by default one for each core."""

    def __post_init__(self) -> None:
        for name in ("workers", "limit"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise CodecError(f"config {name}: {value} must be above 0")
        for name in ("min_seconds", "max_seconds"):
            if (seconds := getattr(self, name)) is not None and math.isnan(seconds):
                raise CodecError(f"config {name}: {seconds} is no number of seconds")
        if self.speaker_regex is not None:
            try:
                groups = re.compile(self.speaker_regex).groups
            except re.error as error:
                raise CodecError(f"config speaker_regex: {self.speaker_regex!r} is no pattern ({error})") from None
            if not groups:
                raise CodecError(
                    f"config speaker_regex: {self.speaker_regex!r} has no group; put the speaker's part in parentheses"
                )

    @property
    def progress(self) -> Path:
        """File of what has been read, as long as there is no manifest."""
        return Path(f"{self.output}.read.jsonl")


@dataclass
class Corpus:
    """The clips that were found.

    Attributes:
        clips: good ones, in a stable order.
        skipped: (path, reason) of the others.
        notes: on files in a folder that have other suffixes; one line.
    """

    clips: list[Clip] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def collect(config: CorpusConfig) -> Corpus:
    """Check every recording of the source; bad ones are skipped with a reason.

    A run that is stopped goes on where it was: what it has decoded is noted in ``config.progress``, which whoever
    writes the manifest deletes.

    Raises:
        CodecError: when the source does not exist or has no usable clip.
    """
    corpus, root = Corpus(), _root(config)
    kind = config.kind if config.kind != "auto" else _guess(config.source)
    clips, total = _candidates(config, kind, corpus)
    with ProgressBar("reading recordings", total, terminal_only=not config.verify) as bar:
        for candidate, found in lengths(clips, config.verify, config.workers, DecodedLengths(config.progress)):
            bar.advance()
            try:
                clip = _usable(candidate, found, config)
                clip = clip if kind == "hub" else _with_text(clip)
            except CodecError as error:
                corpus.skipped.append((candidate.path, str(error)))
                continue
            corpus.clips.append(dataclasses.replace(clip, path=_relative(clip.audio, root), root=str(root)))
    if not corpus.clips:
        first = f"; the first: {': '.join(corpus.skipped[0])}" if corpus.skipped else ""
        notes = "".join(f"; {note}" for note in corpus.notes)
        raise CodecError(f"{config.source}: no usable recording ({len(corpus.skipped)} skipped{first}){notes}")
    return corpus


def _candidates(config: CorpusConfig, kind: str, corpus: Corpus) -> tuple[Iterable[Clip], int | None]:
    """Clips that are to be read, and how many, where that is known; what cannot be read goes into ``corpus``."""
    if config.source_root is not None and kind != "manifest":
        raise CodecError(f"config source_root: {config.source} is no manifest, whose paths alone may have a root")
    if kind == "hub":
        from codec.data.corpus.hub import hub_clips

        clips = hub_clips(config, corpus.skipped)
    else:
        clips = _folder_clips(config, corpus) if kind == "folder" else _manifest_clips(config)
    if config.include is not None:
        clips = (clip for clip in clips if fnmatch(clip.path, config.include))
    clips = itertools.islice(clips, config.limit)
    if kind == "hub":
        return clips, None
    known = list(clips)
    return known, len(known)


def _root(config: CorpusConfig) -> Path:
    if config.root is None:
        return Path(os.path.abspath(config.output)).parent
    if not Path(config.root).is_dir():
        raise CodecError(f"config root: {config.root}: no such folder")
    return Path(os.path.abspath(config.root))


def _guess(source: str) -> str:
    if Path(source).is_dir():
        return "folder"
    if source.endswith(".jsonl"):
        return "manifest"
    if Path(source).exists():
        raise CodecError(f"{source}: a single file; name an audio folder, a .jsonl manifest or a dataset id")
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source) and not source.startswith("."):
        return "hub"
    raise CodecError(f"{source}: no such folder; name an audio folder, a .jsonl manifest or a dataset id")


def _folder_clips(config: CorpusConfig, corpus: Corpus) -> Iterator[Clip]:
    """The clips of a folder; what is skipped or unreadable in it goes into ``corpus``."""
    source = Path(config.source)
    if not source.is_dir():
        raise CodecError(f"{source}: no such folder")
    suffixes = AUDIO_SUFFIXES
    if config.extensions is not None:
        suffixes = tuple("." + extension.lower().lstrip(".") for extension in config.extensions)
    search = search_folder(source, suffixes, TEXT_SUFFIXES)
    corpus.notes += [summary] if (summary := search.summary()) else []
    for message in search.unreadable:
        place, _, words = message.partition(": ")
        corpus.skipped.append((place, words))
    for path in search.found:
        inside = path.relative_to(source)
        yield Clip(
            path=inside.as_posix(),
            seconds=0.0,
            speaker=_speaker(inside, config),
            language=config.language,
            domain=config.domain or "speech",
            root=str(source),
        )


def _manifest_clips(config: CorpusConfig) -> Iterator[Clip]:
    for clip in read_manifest(config.source, config.source_root):
        yield dataclasses.replace(
            clip,
            language=clip.language or config.language,
            domain=config.domain or clip.domain,
        )


def _with_text(clip: Clip) -> Clip:
    return clip if clip.text is not None else dataclasses.replace(clip, text=sidecar_text(clip.audio))


def _speaker(inside: Path, config: CorpusConfig) -> str | None:
    if config.speaker_regex is not None:
        match = re.search(config.speaker_regex, inside.as_posix())
        if match:
            return match.group(1)
    folders = inside.parts[:-1]
    if config.speaker == "none" or not folders:
        return None
    return folders[0] if config.speaker == "top" else folders[-1]


def _usable(clip: Clip, seconds: float | CodecError, config: CorpusConfig) -> Clip:
    """The clip with its length, if it was read and is neither too short nor too long."""
    if isinstance(seconds, CodecError):
        raise seconds
    if seconds < config.min_seconds:
        raise CodecError(f"shorter than min_seconds ({seconds:.2f} < {config.min_seconds:g})")
    if config.max_seconds is not None and seconds > config.max_seconds:
        raise CodecError(f"longer than max_seconds ({seconds:.2f} > {config.max_seconds:g})")
    return dataclasses.replace(clip, seconds=round(seconds, 4))


def _relative(audio: Path, root: Path) -> str:
    """Relative where the file lies below the root, by a link's name or its own: the manifest may move with it."""
    named, own = Path(os.path.abspath(audio)), audio.resolve()
    for path, base in ((named, root), (named, root.resolve()), (own, root.resolve())):
        # ``..`` after a link may have led elsewhere.
        if path.is_relative_to(base) and path.exists() and path.samefile(own):
            return path.relative_to(base).as_posix()
    return os.fspath(own)
