"""The plan of a corpus: its shards, made once, from which every process of every run takes its own.

::

    OUT/plan.json              settings, and the hash of each file below
    OUT/plan/000000.jsonl      the utterances of a shard, in order
    OUT/shards/000000.parquet  their tokens
    OUT/shards/000000.json     written last: the shard is done
    OUT/corpus.json            written when all are: the sums
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from codec.atomic import reason
from codec.config import from_dict
from codec.corpora.durable import durable_file, lock, make_folder
from codec.corpora.remote import Folder, RemotePath
from codec.corpora.sources import SourceConfig, list_source
from codec.corpora.sources.kinds import kind_of
from codec.corpora.utterances import Utterance, from_lines, to_lines
from codec.errors import CodecError

FORMAT = "codec-corpus"
VERSION = 1
PLAN = "plan.json"
_DESCRIPTIVE = ("codec_version", "model")
"""Facts that may differ in a later run: the fingerprint says whether codes mean the same."""


@dataclass(frozen=True)
class Facts:
    """What all shards of a corpus share; written into every file.

    Attributes:
        fingerprint: of the model.
        sample_rate: Hz of the model.
        hop_length: samples of a frame.
        codebook_sizes: entries of each codebook that is kept.
        codec_version: of the package that made the plan.
        model: settings of the model.
        deterministic: whether codes are computed in blocks of one shape.
        backend: what computes.
    """

    fingerprint: str
    sample_rate: int
    hop_length: int
    codebook_sizes: tuple[int, ...]
    codec_version: str
    model: dict[str, Any]
    deterministic: bool
    backend: str

    @property
    def num_codebooks(self) -> int:
        return len(self.codebook_sizes)


@dataclass(frozen=True)
class Sizes:
    """How utterances are cut into shards."""

    shard_clips: int = 1000
    """Utterances in a shard at most."""
    shard_hours: float = 4.0
    """Audio in a shard at most, where the source says how long its utterances are."""

    def __post_init__(self) -> None:
        if self.shard_clips < 1 or not self.shard_hours > 0:
            raise CodecError("shard_clips and shard_hours must be above 0")


@dataclass(frozen=True)
class Plan:
    """What ``plan.json`` says.

    Attributes:
        source: what was listed, and how.
        sizes: of shards.
        facts: of the tokens.
        utterances: in all shards.
        shards: SHA-256 of each shard's list.
    """

    source: SourceConfig
    sizes: Sizes
    facts: Facts
    utterances: int
    shards: tuple[str, ...]


def open_plan(folder: Folder, source: SourceConfig, sizes: Sizes, facts: Facts) -> Plan:
    """The plan in an output folder, made now where there is none; of several processes one makes it.

    At a URL, which has no locks, each may make it. Their plans are the same unless the source changes meanwhile, and
    then a list is not the one that was planned, which ends the run.

    Raises:
        CodecError: when the folder holds a plan of another source, model or setting, or something else.
    """
    if not (folder / PLAN).is_file():
        _check_first(folder, source)
    fresh = not folder.is_dir()
    _make_folders(folder)
    with _planning(folder):
        if not (folder / PLAN).is_file():
            _make_folders(folder)  # one that had the lock before may have taken them back
            _check_unused(folder)
            try:
                return _make(folder, source, sizes, facts)
            except CodecError:
                if fresh:
                    _take_back(folder)
                raise
    plan = read_plan(folder)
    _check_same(folder, plan, source, sizes, facts)
    return plan


@contextmanager
def _planning(folder: Folder) -> Iterator[None]:
    """No other process plans meanwhile, where folders have locks."""
    if isinstance(folder, RemotePath):
        yield
        return
    with (folder / ".lock").open("ab") as file:
        lock(file)
        yield


def _make_folders(folder: Folder) -> None:
    make_folder(folder / "plan")
    make_folder(folder / "shards")


def _take_back(folder: Folder) -> None:
    """Remove a folder that this planning made and left without a list, such as that of a source without recordings."""
    if isinstance(folder, RemotePath):
        return
    with suppress(OSError):  # what is in use, or not empty, stays
        (folder / "plan").rmdir()
        (folder / "shards").rmdir()
        (folder / ".lock").unlink()
        folder.rmdir()


def read_plan(folder: Folder) -> Plan:
    """The plan of a corpus that is there.

    Raises:
        CodecError: when there is none, or it is damaged or of another version.
    """
    path = folder / PLAN
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CodecError(f"{folder}: no corpus of tokens ({PLAN} is missing); codec tokenize makes one") from None
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({reason(error)})") from None
    except ValueError as error:
        raise CodecError(f"{path}: damaged ({error}); start with another folder") from None
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise CodecError(f"{path}: no plan of a corpus; start with another folder")
    if (version := values.pop("version", None)) != VERSION:
        raise CodecError(f"{path}: version {version!r} is unknown; update codec to read it")
    return from_dict(Plan, values, where=str(path))


def read_shard(folder: Folder, plan: Plan, shard: int) -> list[Utterance]:
    """The utterances of a shard.

    Raises:
        CodecError: when its list is not the one that was planned.
    """
    path = list_path(folder, shard)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({reason(error)}); restore it, or take another folder") from None
    if hashlib.sha256(data).hexdigest() != plan.shards[shard]:
        raise CodecError(f"{path}: changed since the plan was made; put it back, or start with another folder")
    return from_lines(data)


def list_path(folder: Folder, shard: int) -> Folder:
    """Where a shard's utterances are listed."""
    return folder / "plan" / f"{shard:06d}.jsonl"


def cut(utterances: Iterable[Utterance], sizes: Sizes) -> Iterator[list[Utterance]]:
    """Shards of neighbours: none above either limit, but for an utterance that is above it alone."""
    shard: list[Utterance] = []
    seconds = 0.0
    for utterance in utterances:
        more = utterance.seconds or 0.0
        if shard and (len(shard) == sizes.shard_clips or seconds + more > 3600 * sizes.shard_hours):
            yield shard
            shard, seconds = [], 0.0
        shard.append(utterance)
        seconds += more
    if shard:
        yield shard


def _make(folder: Folder, source: SourceConfig, sizes: Sizes, facts: Facts) -> Plan:
    hashes: list[str] = []
    count = 0
    for number, shard in enumerate(cut(list_source(source), sizes)):
        count += len(shard)
        data = to_lines(shard)
        hashes.append(hashlib.sha256(data).hexdigest())
        with durable_file(list_path(folder, number)) as file:
            file.write(data)
    lists = {list_path(folder, number).name for number in range(len(hashes))}
    found: list[Folder] = list((folder / "plan").iterdir())
    for left in found:  # by a planning that was stopped
        if left.name not in lists:
            left.unlink()
    plan = Plan(source, sizes, facts, count, tuple(hashes))
    with durable_file(folder / PLAN) as file:
        file.write(to_json({"format": FORMAT, "version": VERSION, **asdict(plan)}))
    return plan


def to_json(values: dict[str, Any]) -> bytes:
    """The text of a small file."""
    return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()


def _check_first(folder: Folder, source: SourceConfig) -> None:
    """Refuse a folder in use and a source that is not there before anything is written."""
    if folder.is_dir():
        _check_unused(folder)
    if source.kind == "auto":
        kind_of(source.source)


def _check_unused(folder: Folder) -> None:
    """A folder without a plan may hold what a stopped planning left, and nothing else."""
    known = {".lock", "plan", "shards", f".{PLAN}.part"}
    strange = sorted(path.name for path in folder.iterdir() if path.name not in known)
    if (folder / "shards").is_dir():
        strange += sorted(f"shards/{path.name}" for path in (folder / "shards").iterdir())
    if strange and not (folder / PLAN).is_file():  # else another process has made it meanwhile
        raise CodecError(f"{folder}: holds {strange[0]} but no {PLAN}; choose an empty folder")


def _check_same(folder: Folder, plan: Plan, source: SourceConfig, sizes: Sizes, facts: Facts) -> None:
    if plan.facts.fingerprint != facts.fingerprint:
        raise CodecError(
            f"{folder}: holds tokens of model {plan.facts.fingerprint}, this is {facts.fingerprint}; "
            "load that model, or choose another folder"
        )
    for found, given in ((plan.facts, facts), (plan.source, source), (plan.sizes, sizes)):
        before, now = asdict(found), asdict(given)
        for name, value in before.items():
            if now[name] != value and name not in _DESCRIPTIVE:
                raise CodecError(
                    f"{folder}: was planned with {name} {_short(value)}, now it is {_short(now[name])}; "
                    "give the same, or choose another folder"
                )


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
