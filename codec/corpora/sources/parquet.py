"""Parquet files with recordings inside, as Hugging Face's datasets are on the Hub: ``hf://datasets/org/name``."""

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from codec.corpora.places import expand, is_folder, is_url, join, list_folder, open_place, size_of
from codec.corpora.utterances import Utterance
from codec.data.search import search_folder
from codec.errors import CodecError

SUFFIX = ".parquet"


def parquet_utterances(source: str, split: str | None, columns: tuple[str, str, str]) -> Iterator[Utterance]:
    """A row each; its id is that of the column ``id``, else the file's name and the row's number.

    Args:
        source: a file, a folder of them, or a glob.
        split: takes ``train-00000-of-00007.parquet``, and files in a folder ``train``; all by default.
        columns: names of those with audio, text and speaker; the last two may be missing.

    Raises:
        CodecError: without the column of audio, or for a file that cannot be read.
    """
    audio, text, speaker = columns
    for name, path in list_tables(source, split):
        size = size_of(path)
        with open_place(path) as file:
            table = _parquet(path, file)
            names = table.schema_arrow.names
            _check_column(path, audio, names)
            for row, values in enumerate(_rows(table, [column for column in ("id", text, speaker) if column in names])):
                yield Utterance(
                    str(values.get("id", f"{name}-{row:09d}")),
                    path,
                    size,
                    row=row,
                    column=audio,
                    text=None if values.get(text) is None else str(values[text]),
                    speaker=None if values.get(speaker) is None else str(values[speaker]),
                )


def _rows(table: Any, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    if not columns:
        yield from ({} for _ in range(table.metadata.num_rows))
        return
    for batch in table.iter_batches(columns=list(columns)):
        yield from batch.to_pylist()


def list_tables(source: str, split: str | None) -> list[tuple[str, str]]:
    """Names without suffix and paths of a source's files, those of a split where it is given.

    Raises:
        CodecError: when there are none of the split.
    """
    if not is_folder(source):
        found = [(PurePosixPath(path).stem, path) for path in expand(source)]
    elif is_url(source):
        found = [(name.removesuffix(SUFFIX), join(source, name)) for name, _ in list_folder(source, (SUFFIX,))]
    else:
        paths = search_folder(Path(source), (SUFFIX,)).found
        found = [(path.relative_to(source).with_suffix("").as_posix(), str(path)) for path in paths]
    if split is None:
        return found
    chosen = [(name, path) for name, path in found if _split_of(name) == split or split in name.split("/")[:-1]]
    if not chosen:
        splits = ", ".join(sorted({_split_of(name) for name, _ in found}))
        raise CodecError(f"{source}: no files of the split {split!r}; found {splits or 'none'}")
    return chosen


def _split_of(name: str) -> str:
    return name.rpartition("/")[2].partition("-")[0]


def _parquet(path: str, file: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise CodecError(f"{path}: cannot be read as parquet ({' '.join(str(error).split())})") from None


def _check_column(path: str, audio: str, names: Sequence[str]) -> None:
    if audio not in names:
        raise CodecError(f"{path}: no column {audio!r}; set --audio-column to one of {', '.join(names)}")


def read_parquet_row(path: str, column: str, row: int) -> Any:
    """A row's recording, as it is stored: a mapping of ``bytes`` and ``path``, or bytes.

    Raises:
        CodecError: as :func:`parquet_utterances`.
    """
    for group, count in enumerate(_group_sizes(path)):
        if row < count:
            return _group(path, column, group)[row].as_py()
        row -= count
    raise CodecError(f"{path}: ends before row {row}; it has changed since the plan was made")


@functools.lru_cache(maxsize=4)
def _group_sizes(path: str) -> list[int]:
    with open_place(path) as file:
        metadata = _parquet(path, file).metadata
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


@functools.lru_cache(maxsize=2)
def _group(path: str, column: str, group: int) -> Any:
    """Recordings of a row group, kept because its other rows follow."""
    with open_place(path) as file:
        return _parquet(path, file).read_row_group(group, columns=[column]).column(0)


def holds_tables(folder: str, names: Sequence[str]) -> bool:
    """Whether a folder's names, or those of a local folder in it, are such files."""
    if any(name.endswith(SUFFIX) for name in names):
        return True
    inner = [] if is_url(folder) else [entry.path for entry in os.scandir(folder) if entry.is_dir()]
    return any(name.endswith(SUFFIX) for path in inner for name in os.listdir(path))
