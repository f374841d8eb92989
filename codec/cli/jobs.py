"""Which inputs become which outputs: a file, a folder, a glob or standard input and output."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codec.atomic import check_target
from codec.errors import CodecError

STREAM = "-"


@dataclass(frozen=True)
class Job:
    """One input and its output; ``None`` is standard input or standard output."""

    source: Path | None
    target: Path | None

    @property
    def name(self) -> str:
        return str(self.source) if self.source else "standard input"


@dataclass(frozen=True)
class Rules:
    """What a command reads and writes.

    Attributes:
        suffixes: of the files to look for in a folder.
        kind: what they are, for messages.
        suffix: of an output whose name is not given.
        beside: the same for an output that goes beside its input.
        check: raises a :class:`CodecError` for an output name with a wrong suffix.
    """

    suffixes: Sequence[str]
    kind: str
    suffix: str
    beside: str
    check: Callable[[Path], None]


@dataclass(frozen=True)
class Plan:
    """Jobs in order; ``many`` when they came from a folder or a glob, however few there are."""

    jobs: list[Job]
    many: bool


def make_plan(source: str, target: str | None, rules: Rules, overwrite: bool) -> Plan:
    """The jobs of ``IN [OUT]``.

    Raises:
        CodecError: when there is no input, or an output's name or place does not fit.
    """
    path = Path(source)
    if source == STREAM:
        return _single(None, target, rules, overwrite)
    if path.is_dir():
        found = _find_in_folder(path, rules.suffixes)
        if not found:
            raise CodecError(f"{path}: no {rules.kind} in this folder ({', '.join(rules.suffixes)})")
        return _many(found, path, target, rules)
    if path.exists():
        return _single(path, target, rules, overwrite)
    if glob.has_magic(source):
        found = sorted(Path(name) for name in glob.glob(source, recursive=True) if os.path.isfile(name))
        if not found:
            raise CodecError(f"{source}: no file matches")
        return _many(found, _fixed_part(path), target, rules)
    raise CodecError(f"{source}: no such file or folder")


def _single(source: Path | None, target: str | None, rules: Rules, overwrite: bool) -> Plan:
    if target == STREAM or (target is None and source is None):
        return Plan([Job(source, None)], many=False)
    if target is None:
        path = source.with_suffix(rules.beside)
    elif source and Path(target).is_dir():
        path = Path(target, source.name).with_suffix(rules.suffix)
    else:
        path = Path(target)
    rules.check(path)
    check_target(path, overwrite)
    return Plan([Job(source, path)], many=False)


def _many(sources: list[Path], root: Path, target: str | None, rules: Rules) -> Plan:
    if target == STREAM:
        raise CodecError("several inputs do not fit into standard output; give a folder")
    if target is not None and Path(target).exists() and not Path(target).is_dir():
        raise CodecError(f"{target}: is a file; several inputs need a folder (quote a glob)")
    if target is None:
        jobs = [Job(source, source.with_suffix(rules.beside)) for source in sources]
    else:
        jobs = [
            Job(source, Path(target, source.relative_to(root)).with_suffix(rules.suffix))
            for source in sources
        ]
    shared = [path for path, count in Counter(job.target for job in jobs).items() if count > 1]
    if shared:
        names = " and ".join(job.name for job in jobs if job.target == shared[0])
        raise CodecError(f"{names} would both become {shared[0]}; rename one or encode them apart")
    return Plan(jobs, many=True)


def _find_in_folder(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes
        ]
    return sorted(found)


def _fixed_part(pattern: Path) -> Path:
    """The folders of a glob before its first wildcard: the root of the tree that is kept."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)
