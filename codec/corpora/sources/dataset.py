"""Hugging Face datasets on disk; their audio is never decoded by the datasets library."""

import functools
import os
from collections.abc import Iterator
from typing import Any

from codec.corpora.places import is_url
from codec.corpora.sources.parquet import SUFFIX, read_parquet_row
from codec.corpora.utterances import Utterance
from codec.errors import CodecError


def is_dataset(folder: str) -> bool:
    """Whether ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` made it."""
    files = ("state.json", "dataset_dict.json")
    return not is_url(folder) and any(os.path.isfile(os.path.join(folder, name)) for name in files)


def dataset_utterances(folder: str, split: str | None, columns: tuple[str, str, str]) -> Iterator[Utterance]:
    """A row each; its id is that of the column ``id``, else its number.

    Args:
        split: of a folder with several.
        columns: names of those with audio, text and speaker; the last two may be missing.

    Raises:
        CodecError: without the package datasets, the split or the column of audio.
    """
    audio, text, speaker = columns
    if os.path.isfile(os.path.join(folder, "dataset_dict.json")):
        folder = os.path.join(folder, split or _only_split(folder))
    rows = open_dataset(folder, audio)
    about = rows.select_columns([name for name in ("id", text, speaker) if name in rows.column_names])
    for number, row in enumerate(about if about.column_names else ({} for _ in range(len(rows)))):
        yield Utterance(
            str(row.get("id", f"{number:09d}")),
            folder,
            row=number,
            column=audio,
            text=None if row.get(text) is None else str(row[text]),
            speaker=None if row.get(speaker) is None else str(row[speaker]),
        )


def _only_split(folder: str) -> str:
    splits = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    if len(splits) != 1:
        raise CodecError(f"{folder}: splits {', '.join(splits)}; choose one with --split")
    return splits[0]


@functools.lru_cache(maxsize=4)
def open_dataset(folder: str, column: str) -> Any:
    """The dataset, with audio as bytes or paths; kept, since every row is asked for alone.

    Raises:
        CodecError: as :func:`dataset_utterances`.
    """
    try:
        from datasets import Audio, load_from_disk
    except ImportError:
        raise CodecError(f"{folder}: this needs the package datasets; pip install 'codec[corpora]'") from None
    try:
        rows = load_from_disk(folder)
    except (OSError, ValueError) as error:
        raise CodecError(f"{folder}: cannot be read as a dataset ({' '.join(str(error).split())})") from None
    if column not in rows.column_names:
        raise CodecError(
            f"{folder}: no column {column!r}; set --audio-column to one of {', '.join(rows.column_names)}"
        )
    return rows.cast_column(column, Audio(decode=False))


def read_row(folder: str, column: str, row: int) -> bytes | str:
    """The bytes of a row's recording, or the path where it lies; of a dataset on disk or a parquet file.

    Raises:
        CodecError: for a row without audio.
    """
    parquet = folder.endswith(SUFFIX)
    audio = read_parquet_row(folder, column, row) if parquet else open_dataset(folder, column)[row][column]
    audio = {"bytes": audio} if isinstance(audio, bytes) else audio or {}
    if audio.get("bytes") is not None:
        return bytes(audio["bytes"])
    if audio.get("path"):
        return str(audio["path"])
    raise CodecError("the row holds neither bytes nor a path")
