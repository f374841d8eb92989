"""Pair inputs with outputs: files, folders, globs, or standard input and output."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codec.atomic import check_target
from codec.console import counted
from codec.data.search import search_folder
from codec.errors import CodecError
from codec.reading import STANDARD_INPUT, is_regular, path_of

STREAM = "-"


@dataclass(frozen=True)
class FileJob:
    """One input and its output; ``None`` is standard input or standard output."""

    source: Path | None
    target: Path | None

    @property
    def name(self) -> str:
        return str(self.source) if self.source else STANDARD_INPUT


@dataclass(frozen=True)
class Rules:
    """The files that a command reads and writes.

    Attributes:
        suffixes: of the files to look for in a folder.
        kind: what they are, for messages.
        written: suffixes of outputs.
        suffix: of an output whose name is not given.
        adjacent: the same for an output that goes next to its input.
        check: raises a :class:`CodecError` for an output name with a wrong suffix.
    """

    suffixes: Sequence[str]
    kind: str
    written: Sequence[str]
    suffix: str
    adjacent: str
    check: Callable[[Path], None]


@dataclass(frozen=True)
class Existing:
    """The action for an existing output: replace it, skip its input, or report an error."""

    overwrite: bool = False
    skip: bool = False

    def __post_init__(self) -> None:
        if self.overwrite and self.skip:
            raise CodecError("--overwrite and --skip-existing contradict each other; give one of them")


@dataclass(frozen=True)
class FilePlan:
    """Jobs in order.

    Attributes:
        many: whether they came from a folder, a glob or several names, however few there are.
        notes: on skipped files and folders.
        unreadable: messages about what may not be read.
    """

    jobs: list[FileJob]
    many: bool
    notes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def split_paths(paths: Sequence[str], rules: Rules) -> tuple[list[str], str | None]:
    """``IN... [OUT]`` apart: the last is OUT unless the shell made it of a glob of inputs.

    That is, unless it is, after other files, an existing file without an output's suffix, or, after
    several, the name of an input.
    """
    for path in paths:
        path_of(path, f"one of the {rules.kind} or -")
    *sources, last = paths
    if not sources:
        return [last], None
    suffix = Path(last).suffix.lower()
    if last == STREAM or suffix in rules.written:
        return sources, last
    if len(sources) > 1:
        is_input = is_regular(Path(last)) or (suffix in rules.suffixes and not os.path.isdir(last))
    else:
        is_input = is_regular(Path(last)) and is_regular(Path(sources[0]))
    return (list(paths), None) if is_input else (sources, last)


def make_plan(sources: Sequence[str], target: str | None, rules: Rules, existing: Existing) -> FilePlan:
    """The jobs of ``IN... [OUT]``.

    Raises:
        CodecError: when there is no input, or an output's name or place does not fit.
    """
    if len(sources) == 1 and (sources[0] == STREAM or _is_one(sources[0])):
        path = None if sources[0] == STREAM else Path(sources[0])
        if path and target and target.endswith("/") and not os.path.isdir(target):
            return FilePlan(_many({path: path.parent}, target, rules), many=True)
        return _single(path, target, rules, existing)
    found: dict[Path, Path] = {}
    notes, unreadable = [], []
    for source in sources:
        if source == STREAM:
            raise CodecError("standard input (-) cannot be one of several inputs; encode it alone")
        path = Path(source)
        if os.path.isdir(path):
            search = search_folder(path, rules.suffixes, any_name=True)
            notes += [note for note in [search.summary()] if note]
            unreadable += search.unreadable
            # Of several folders, each keeps its name.
            root = path if len(sources) == 1 else path.parent
            found |= {file: root for file in search.found if file not in found}
        elif _is_one(source):
            found.setdefault(path, path.parent)
        else:
            files, folders = _matches(source)
            found |= {file: _fixed_part(path) for file in files if file not in found}
            if folders and "**" not in path.parts:
                notes.append(f"not looked at: {counted(len(folders), 'folder')} matching {source}, as {folders[0]}")
    if not found:
        reasons = [*unreadable, *notes]
        raise CodecError(
            f"{sources[0]}: no {rules.kind} in this folder ({', '.join(rules.suffixes)})"
            + "".join(f"; {words}" for words in reasons)
        )
    return FilePlan(_many(found, target, rules), True, notes, unreadable)


def check_format(plan: FilePlan, given: str | None, suffix: str) -> None:
    """Refuse ``--format`` next to the name of a file with another suffix.

    Raises:
        CodecError: when they contradict each other.
    """
    named = plan.jobs[0].target
    if given and named and named.suffix.lower() != suffix:
        raise CodecError(f"{named}: --format {given} does not fit this suffix; drop one of them")


def _is_one(source: str) -> bool:
    """Whether it is the name of something other than a folder, be it a file, a pipe or a device."""
    return os.path.lexists(source) and not os.path.isdir(source)


def _matches(pattern: str) -> tuple[list[Path], list[Path]]:
    """Files and folders of a glob."""
    if not glob.has_magic(pattern):
        raise CodecError(f"{pattern}: no such file or folder")
    found = sorted(map(Path, glob.glob(pattern, recursive=True)))
    files = [path for path in found if not os.path.isdir(path)]
    if not files:
        raise CodecError(f"{pattern}: no file matches")
    return files, [path for path in found if os.path.isdir(path)]


def _single(source: Path | None, target: str | None, rules: Rules, existing: Existing) -> FilePlan:
    if target == STREAM or (target is None and source is None):
        return FilePlan([FileJob(source, None)], many=False)
    if target is None:
        assert source is not None
        if not is_regular(source) and source.exists():
            raise CodecError(f"{source}: is not a regular file; name an output, or - for standard output")
        path = source.with_suffix(rules.adjacent)
    elif source and os.path.isdir(target):
        path = Path(target, source.name).with_suffix(rules.suffix)
    else:
        path = Path(target)
        if not path.suffix and not path.exists():
            folder = f"no such folder; {path}/ makes it, and " if source else ""
            raise CodecError(f"{path}: {folder}a file needs a suffix, as {path}{rules.suffix}")
    rules.check(path)
    check_target(path, existing.overwrite or existing.skip)
    return FilePlan([FileJob(source, path)], many=False)


def _many(found: dict[Path, Path], target: str | None, rules: Rules) -> list[FileJob]:
    """A job for every file; below OUT, its tree from its root on is kept."""
    if target == STREAM:
        raise CodecError("several inputs do not fit into standard output; give a folder")
    if target is not None and os.path.exists(target) and not os.path.isdir(target):
        raise CodecError(f"{target}: is a file; several inputs need a folder (quote a glob)")
    if target is not None and Path(target).suffix.lower() in rules.written and not os.path.isdir(target):
        raise CodecError(f"{target}: names one file; several inputs need a folder")
    if target is None:
        jobs = [FileJob(source, source.with_suffix(rules.adjacent)) for source in found]
    else:
        jobs = [
            FileJob(source, Path(target, source.relative_to(root)).with_suffix(rules.suffix))
            for source, root in found.items()
        ]
    shared = [path for path, count in Counter(job.target for job in jobs).items() if count > 1]
    if shared:
        names = " and ".join(job.name for job in jobs if job.target == shared[0])
        raise CodecError(f"{names} would both become {shared[0]}; rename one or encode them apart")
    return jobs


def _fixed_part(pattern: Path) -> Path:
    """The folders of a glob before its first wildcard: the root of the tree that is kept."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)
