"""The forms: sequences in parquet, Megatron's pair of files, tars, JSON lines."""

import io
import json
import struct
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codec.corpora.durable import durable_file
from codec.corpora.exports.rows import Row

ROWS = 512
_SCHEMA = pa.schema(
    [
        pa.field("input_ids", pa.list_(pa.int64())),
        pa.field("attention_mask", pa.list_(pa.int8())),
        pa.field("labels", pa.list_(pa.int64())),
        pa.field("id", pa.string()),
    ]
)
IGNORED = -100
"""Label of what is not learned, as PyTorch's cross entropy has it."""


@dataclass(frozen=True)
class Example:
    """What a model learns from one utterance.

    Attributes:
        row: the utterance.
        ids: of the layout, ``(N,)`` or ``(steps, K)``; ``None`` where codes are exported as they are.
        prompt: ids of the text before them.
    """

    row: Row
    ids: np.ndarray | None
    prompt: tuple[int, ...] = ()

    @property
    def sequence(self) -> np.ndarray:
        """Prompt and ids, ``(N,)``."""
        assert self.ids is not None
        return np.concatenate([np.asarray(self.prompt, np.int64), self.ids])


Shards = Iterable[tuple[int, Iterator[Example]]]


def write_parquet(folder: Path, shards: Shards, metadata: dict[str, Any]) -> None:
    """``000000.parquet``...: ``input_ids``, ``attention_mask`` and ``labels``, and the utterance's id."""
    schema = _SCHEMA.with_metadata({"codec": json.dumps(metadata)})
    for shard, examples in shards:
        with (
            durable_file(folder / f"{shard:06d}.parquet") as file,
            pq.ParquetWriter(file, schema, compression="zstd") as writer,
        ):
            for group in _groups(examples, ROWS):
                writer.write_table(pa.Table.from_pylist([_learned(one) for one in group], schema=schema))


def _learned(example: Example) -> dict[str, Any]:
    ids = example.sequence
    labels = ids.copy()
    labels[: len(example.prompt)] = IGNORED
    return {
        "input_ids": ids,
        "attention_mask": np.ones(len(ids), np.int8),
        "labels": labels,
        "id": example.row.id,
    }


def write_megatron(folder: Path, shards: Shards, vocab_size: int) -> None:
    """``corpus.bin`` and ``corpus.idx`` of Megatron-Core's indexed datasets: a document an utterance."""
    small = vocab_size < 65_500  # as Megatron's optimal_dtype
    kind, code = (np.dtype("<u2"), 8) if small else (np.dtype("<i4"), 4)
    lengths: list[int] = []
    with durable_file(folder / "corpus.bin") as file:
        for _, examples in shards:
            for example in examples:
                ids = example.sequence.astype(kind)
                file.write(ids.tobytes())
                lengths.append(len(ids))
    with durable_file(folder / "corpus.idx") as file:
        write_index(file, np.asarray(lengths, np.int64), kind.itemsize, code)


def write_index(file: BinaryIO, lengths: np.ndarray, itemsize: int, code: int) -> None:
    """The index of ``lengths (N,)`` sequences of numbers of ``itemsize`` bytes, type ``code``."""
    file.write(b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(lengths), len(lengths) + 1))
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]) * itemsize if len(lengths) else lengths
    file.write(lengths.astype("<i4").tobytes())
    file.write(offsets.astype("<i8").tobytes())
    file.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())


def write_webdataset(folder: Path, shards: Shards) -> None:
    """``000000.tar``...: a sample an utterance, with ``.json`` and ``.npy``, codes ``(K, T)`` or the layout's ids.

    Keys are numbers, since ids may hold dots, at which WebDataset splits names; the JSON has the id.
    """
    for shard, examples in shards:
        with durable_file(folder / f"{shard:06d}.tar") as file, tarfile.open(fileobj=file, mode="w") as tar:
            for number, example in enumerate(examples):
                array = io.BytesIO()
                np.save(array, example.row.codes if example.ids is None else example.ids, allow_pickle=False)
                key = f"{shard:06d}{number:06d}"
                _add(tar, f"{key}.json", json.dumps(_about(example), ensure_ascii=False).encode())
                _add(tar, f"{key}.npy", array.getvalue())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # of 1970, so that files do not depend on the time
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def write_jsonl(folder: Path, shards: Shards) -> None:
    """``000000.jsonl``...: an object an utterance, with ``codes`` as ``[frame][codebook]``, or the layout's ``ids``.

    Ids of the text are apart, as ``prompt``; so they are in the JSON of :func:`write_webdataset`.
    """
    for shard, examples in shards:
        with durable_file(folder / f"{shard:06d}.jsonl") as file:
            for example in examples:
                ids = example.ids
                tokens = {"codes": example.row.codes.T.tolist()} if ids is None else {"ids": ids.tolist()}
                file.write((json.dumps(_about(example) | tokens, ensure_ascii=False) + "\n").encode())


def _about(example: Example) -> dict[str, Any]:
    row = example.row
    known = {"id": row.id, "num_samples": row.num_samples, "seconds": row.seconds, "source": row.source}
    optional = {"text": row.text, "speaker": row.speaker, "prompt": list(example.prompt) or None}
    return known | {name: value for name, value in optional.items() if value is not None}


def _groups(examples: Iterable[Example], count: int) -> Iterator[list[Example]]:
    group: list[Example] = []
    for example in examples:
        group.append(example)
        if len(group) == count:
            yield group
            group = []
    if group:
        yield group


WRITERS: dict[str, Callable[..., None]] = {"webdataset": write_webdataset, "jsonl": write_jsonl}
"""Forms that need nothing but the examples."""
