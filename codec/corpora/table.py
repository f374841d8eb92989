"""Parquet files of a corpus: a row an utterance, a column a codebook."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codec.config import from_dict
from codec.corpora.audio import BadUtterance
from codec.corpora.encode import Encoded
from codec.corpora.plan import FORMAT, VERSION, Facts
from codec.corpora.remote import Folder, open_table
from codec.corpora.utterances import Utterance, printable
from codec.errors import CodecError

METADATA = b"codec"
"""Key of the facts in a file's metadata."""
ROWS = 512
"""Of a row group: some 2 to 4 MB of codes, so that a reader can take a part."""


def codebook_columns(facts: Facts) -> list[str]:
    """``c0``, ``c1``..."""
    return [f"c{layer}" for layer in range(facts.num_codebooks)]


def schema_of(facts: Facts) -> pa.Schema:
    """Columns and metadata of every file of a corpus."""
    codes = [
        pa.field(name, pa.list_(pa.uint16() if size <= 1 << 16 else pa.uint32()))
        for name, size in zip(codebook_columns(facts), facts.codebook_sizes, strict=True)
    ]
    fields = [
        pa.field("id", pa.string(), nullable=False),
        *codes,
        pa.field("num_samples", pa.int64()),
        pa.field("seconds", pa.float64()),
        pa.field("text", pa.string()),
        pa.field("speaker", pa.string()),
        pa.field("source", pa.string()),
        pa.field("error_stage", pa.string()),
        pa.field("error", pa.string()),
    ]
    about = {"format": FORMAT, "version": VERSION, **asdict(facts)}
    return pa.schema(fields, metadata={METADATA: json.dumps(about).encode()})


def write_table(
    file: BinaryIO, facts: Facts, utterances: Sequence[Utterance], results: Sequence[Encoded | BadUtterance]
) -> None:
    """Write a shard; the same bytes for the same content, whatever the run."""
    schema = schema_of(facts)
    good = [result if isinstance(result, Encoded) else None for result in results]
    bad = [result if isinstance(result, BadUtterance) else None for result in results]
    columns: dict[str, Any] = {
        name: _codes(good, layer, schema.field(name).type) for layer, name in enumerate(codebook_columns(facts))
    }
    columns |= {
        "id": [utterance.id for utterance in utterances],
        "num_samples": [one and one.num_samples for one in good],
        "seconds": [one and one.num_samples / facts.sample_rate for one in good],
        "text": [utterance.text for utterance in utterances],
        "speaker": [utterance.speaker for utterance in utterances],
        "source": [printable(utterance.source) for utterance in utterances],
        "error_stage": [one and one.stage for one in bad],
        "error": [one and printable(one.message) for one in bad],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), file, compression="zstd", row_group_size=ROWS)


def _codes(results: Sequence[Encoded | None], layer: int, kind: pa.DataType) -> pa.Array:
    """A codebook's column, without a Python object for each code."""
    parts = [np.zeros(0, np.int64) if one is None else one.codes[layer].numpy() for one in results]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int32)
    values = np.concatenate([*parts, np.zeros(0, np.int64)]).astype(kind.value_type.to_pandas_dtype())
    missing = pa.array([one is None for one in results])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), type=kind, mask=missing)


def read_facts(path: Folder) -> Facts:
    """The facts in a file's metadata.

    Raises:
        CodecError: when it is no parquet file, or none of a corpus.
    """
    try:
        metadata = pq.read_schema(open_table(path)).metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise CodecError(f"{path}: cannot be read as parquet ({' '.join(str(error).split())})") from None
    if METADATA not in metadata:
        raise CodecError(f"{path}: no shard of a corpus; codec tokenize makes them")
    values = json.loads(metadata[METADATA])
    if values.pop("format", None) != FORMAT or values.pop("version", None) != VERSION:
        raise CodecError(f"{path}: of another version; update codec to read it")
    return from_dict(Facts, values, where=str(path))


def read_rows(path: Folder, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of a shard, with codes as arrays; of some columns, so that others are not read."""
    with pq.ParquetFile(open_table(path)) as file:
        for batch in file.iter_batches(ROWS, columns=list(columns)):
            arrays = [
                column.values.to_numpy() if pa.types.is_list(column.type) else column for column in batch.columns
            ]
            for row in range(batch.num_rows):
                yield {
                    name: _cell(column, array, row)
                    for name, column, array in zip(batch.schema.names, batch.columns, arrays, strict=True)
                }


def _cell(column: pa.Array, array: Any, row: int) -> Any:
    if not column.is_valid()[row].as_py():
        return None
    if not pa.types.is_list(column.type):
        return column[row].as_py()
    return array[column.offsets[row].as_py() : column.offsets[row + 1].as_py()]
