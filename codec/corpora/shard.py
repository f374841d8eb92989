"""One shard of a corpus: a function without memory, which any engine may call, and call again."""

import functools
import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from codec.config import from_dict
from codec.corpora.audio import BadUtterance, check_sources
from codec.corpora.durable import durable_file
from codec.corpora.encode import BatchConfig, Encoded, encode_utterances
from codec.corpora.plan import Plan, read_plan, read_shard, to_json
from codec.corpora.remote import Folder, folder_at
from codec.corpora.table import write_table
from codec.corpora.utterances import Utterance
from codec.errors import CodecError
from codec.model.codec import Codec

_ASKED = 16
"""Reports that are read at once."""


@dataclass(frozen=True)
class ShardTask:
    """All that a process needs to know to make a shard; it travels between machines.

    Attributes:
        folder: of the corpus.
        shard: its number.
        model: name or folder.
        device: of PyTorch.
        batching: how utterances are put together; the codes do not depend on it.
        max_error_rate: share of bad utterances above which the shard is refused.
    """

    folder: str
    shard: int
    model: str
    device: str
    batching: BatchConfig
    max_error_rate: float


@dataclass(frozen=True)
class ShardReport:
    """What ``shards/000000.json`` says; it depends on the shard's content alone."""

    shard: int
    fingerprint: str
    plan: str
    """SHA-256 of the shard's list in the plan."""
    sha256: str
    """Of the parquet file."""
    bytes: int
    """Of the parquet file."""
    utterances: int
    seconds: float
    """Of the audio that was encoded."""
    frames: int
    errors: dict[str, int] = field(default_factory=dict)
    """Bad utterances by stage."""

    @property
    def bad(self) -> int:
        """Bad utterances."""
        return sum(self.errors.values())


def table_path(folder: Folder, shard: int) -> Folder:
    """Where a shard's tokens lie."""
    return folder / "shards" / f"{shard:06d}.parquet"


def report_path(folder: Folder, shard: int) -> Folder:
    """The file that says that a shard is done."""
    return folder / "shards" / f"{shard:06d}.json"


def run_shard(task: ShardTask, model: Codec | None = None) -> ShardReport:
    """Make a shard, unless it is done: tokens first, to the disk, and then the file that says so.

    Args:
        model: instead of loading the one that the task names.

    Raises:
        CodecError: when files of the source are gone, too many utterances are bad, nothing can be written, or the
            folder holds another model's shard of this number.
    """
    folder = folder_at(task.folder)
    plan = read_plan(folder)
    done = find_report(folder, plan, task.shard)
    if done is not None:
        return done
    utterances = read_shard(folder, plan, task.shard)
    check_sources(utterances)
    model = model or load(task.model, task.device, plan.facts.backend)
    if model.fingerprint != plan.facts.fingerprint:
        raise CodecError(
            f"{folder}: was planned for model {plan.facts.fingerprint}, {task.model} is {model.fingerprint}; "
            "give the same model to every process"
        )
    facts = plan.facts
    with warnings.catch_warnings():
        # Decoders of lossy formats pass 1 by a little as a matter of course.
        warnings.simplefilter("ignore")
        results = encode_utterances(model, utterances, facts.num_codebooks, facts.deterministic, task.batching)
    check_errors(utterances, results, task)
    with durable_file(table_path(folder, task.shard)) as file:
        write_table(file, facts, utterances, results)
    report = _report(folder, plan, task.shard, results)
    with durable_file(report_path(folder, task.shard)) as file:
        file.write(to_json(asdict(report)))
    return report


def find_report(folder: Folder, plan: Plan, shard: int) -> ShardReport | None:
    """What a shard's report says; ``None`` where the shard is not done.

    Raises:
        CodecError: when the shard is another model's, or of another plan, or its tokens are not those of the report.
    """
    path = report_path(folder, shard)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        report = from_dict(ShardReport, json.loads(data))
    except (ValueError, CodecError) as error:
        raise CodecError(f"{path}: no report of a shard ({error}); delete it to make the shard again") from None
    if report.fingerprint != plan.facts.fingerprint:
        raise CodecError(
            f"{path}: the shard is of model {report.fingerprint}, the corpus of {plan.facts.fingerprint}; "
            "take it out, or choose another folder"
        )
    if (report.shard, report.plan) != (shard, plan.shards[shard]):
        raise CodecError(f"{path}: the shard is of another plan; delete it to make the shard again")
    table = table_path(folder, shard)
    if not table.is_file() or table.stat().st_size != report.bytes:
        raise CodecError(f"{table}: missing or damaged, though {path.name} says it is done; delete {path.name}")
    return report


def find_reports(folder: Folder, plan: Plan, shards: Iterable[int]) -> dict[int, ShardReport | None]:
    """:func:`find_report` of many shards, of which several are asked for at once: URLs answer slowly."""
    numbers = list(shards)
    with ThreadPoolExecutor(_ASKED) as pool:
        return dict(zip(numbers, pool.map(lambda shard: find_report(folder, plan, shard), numbers), strict=True))


def check_errors(utterances: list[Utterance], results: list[Encoded | BadUtterance], task: ShardTask) -> None:
    """Raise a :class:`CodecError` when more than a share of a shard is bad, as when a disk is not mounted."""
    bad = [
        (utterance, result)
        for utterance, result in zip(utterances, results, strict=True)
        if isinstance(result, BadUtterance)
    ]
    if len(bad) > task.max_error_rate * len(utterances):
        utterance, first = bad[0]
        raise CodecError(
            f"shard {task.shard}: {len(bad)} of {len(utterances)} utterances are bad, the first {utterance.source} "
            f"({first}); repair the source, or raise --max-error-rate"
        )


def _report(folder: Folder, plan: Plan, shard: int, results: list[Encoded | BadUtterance]) -> ShardReport:
    data = table_path(folder, shard).read_bytes()
    good = [result for result in results if isinstance(result, Encoded)]
    return ShardReport(
        shard=shard,
        fingerprint=plan.facts.fingerprint,
        plan=plan.shards[shard],
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        utterances=len(results),
        seconds=sum(one.num_samples for one in good) / plan.facts.sample_rate,
        frames=sum(one.codes.shape[1] for one in good),
        errors=dict(sorted(Counter(one.stage for one in results if isinstance(one, BadUtterance)).items())),
    )


@functools.lru_cache(maxsize=1)
def load(model: str, device: str, backend: str) -> Codec:
    """The model of this process, which makes many shards."""
    from codec.model.files import load_model

    return load_model(model, device, backend)
