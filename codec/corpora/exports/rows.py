"""Rows of a finished corpus, shard by shard."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from codec.corpora.plan import Plan, read_plan
from codec.corpora.remote import Folder
from codec.corpora.shard import find_report, table_path
from codec.corpora.table import codebook_columns, read_facts, read_rows
from codec.errors import CodecError

_ABOUT = ("id", "text", "speaker", "source", "num_samples", "seconds")


@dataclass(frozen=True)
class Row:
    """One utterance that was encoded.

    Attributes:
        codes: ``(K, T)``, of the unsigned type in which they are stored.
    """

    id: str
    codes: np.ndarray
    num_samples: int
    seconds: float
    text: str | None
    speaker: str | None
    source: str


def open_corpus(folder: Folder) -> Plan:
    """The plan of a corpus whose shards are all done.

    Raises:
        CodecError: when some are not, or one is of another model.
    """
    plan = read_plan(folder)
    done = [find_report(folder, plan, shard) is not None for shard in range(len(plan.shards))]
    if not all(done):
        raise CodecError(
            f"{folder}: {done.count(False)} of {len(done)} shards are not done, the first {done.index(False)}; "
            "run codec tokenize again"
        )
    return plan


def shard_rows(folder: Folder, plan: Plan, shard: int, num_codebooks: int | None = None) -> Iterator[Row]:
    """The good rows of a shard, with the first codebooks; the others are not read.

    Raises:
        CodecError: when the file is another model's.
    """
    path = table_path(folder, shard)
    facts = read_facts(path)
    if facts.fingerprint != plan.facts.fingerprint:
        raise CodecError(f"{path}: tokens of model {facts.fingerprint}, the corpus is of {plan.facts.fingerprint}")
    names = codebook_columns(plan.facts)[:num_codebooks]
    for values in read_rows(path, [*_ABOUT, *names]):
        if values["num_samples"] is not None:
            codes = np.stack([values.pop(name) for name in names])
            yield Row(codes=codes, **values)


def vocab_sizes(plan: Plan, num_codebooks: int | None) -> tuple[int, ...]:
    """Entries of each codebook that is read.

    Raises:
        CodecError: when the corpus has fewer.
    """
    sizes = plan.facts.codebook_sizes
    if num_codebooks is not None and not 1 <= num_codebooks <= len(sizes):
        raise CodecError(f"num_codebooks must be 1 to {len(sizes)}, which the corpus has, got {num_codebooks}")
    return sizes[:num_codebooks]
