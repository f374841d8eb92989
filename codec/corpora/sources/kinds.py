"""What a source is, and its utterances."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from codec.audio.io import AUDIO_SUFFIXES
from codec.corpora.places import absolute, is_folder, is_url, list_folder
from codec.corpora.sources.cuts import cuts_utterances, shar_utterances
from codec.corpora.sources.dataset import dataset_utterances, is_dataset
from codec.corpora.sources.files import folder_utterances, manifest_utterances
from codec.corpora.sources.parquet import holds_tables, parquet_utterances
from codec.corpora.sources.tars import tar_utterances
from codec.corpora.utterances import Utterance, check_ids
from codec.errors import CodecError

Kind = Literal["auto", "folder", "manifest", "webdataset", "dataset", "parquet", "cuts", "shar"]


@dataclass(frozen=True)
class SourceConfig:
    """Where a corpus lies, and what its parts are called."""

    source: str = ""
    """A folder of recordings, a .jsonl manifest, tars, a dataset on disk or in parquet files, Lhotse cuts or a Shar
    folder."""
    kind: Kind = "auto"
    """What it is, where that cannot be seen."""
    split: str | None = None
    """Of a dataset with several."""
    audio_column: str = "audio"
    """Of a dataset."""
    text_column: str = "text"
    """Of a dataset; and the field of a sample's JSON in tars."""
    speaker_column: str = "speaker_id"
    """Of a dataset; and the field of a sample's JSON in tars."""
    root: str | None = None
    """Folder, or URL, that the paths of a manifest are relative to; its own by default."""


def list_source(config: SourceConfig) -> Iterator[Utterance]:
    """All utterances as they are found, in an order that depends on the source alone.

    Raises:
        CodecError: when the source is not there, is of no known kind, holds nothing, has a root though it is
            no manifest, or two utterances have one id.
    """
    source = absolute(config.source)
    kind = config.kind if config.kind != "auto" else kind_of(source)
    if config.root is not None and kind != "manifest":
        raise CodecError(f"root {config.root}: {config.source} is a {kind}; only the paths of manifests have a root")
    empty = True
    for utterance in check_ids(lambda: _READERS[kind](source, config)):
        empty = False
        yield utterance
    if empty:
        raise CodecError(f"{config.source}: no utterances in this {kind}; --kind says what it is")


def kind_of(source: str) -> Kind:
    """What lies at a place, by name and content.

    Raises:
        CodecError: when it is nothing of the kind.
    """
    name = source.lower()
    if "cuts" in os.path.basename(name) and name.endswith((".jsonl", ".jsonl.gz")):
        return "cuts"
    for suffixes, kind in _SUFFIXES.items():
        if name.endswith(suffixes):
            return kind
    if is_folder(source):
        return _folder_kind(source)
    what = "a single file" if os.path.isfile(source) else "no such folder"
    raise CodecError(
        f"{source}: {what}; name a folder of recordings, a .jsonl manifest, tars, a dataset, "
        "cuts.jsonl.gz or a Shar folder"
    )


_SUFFIXES: dict[tuple[str, ...], Kind] = {
    (".tar", ".tar.gz", ".tgz"): "webdataset",
    (".jsonl",): "manifest",
    (".parquet",): "parquet",
}


def _folder_kind(folder: str) -> Kind:
    if is_dataset(folder):
        return "dataset"
    names = _names(folder)
    if any(entry.startswith("cuts.") and entry.endswith((".jsonl", ".jsonl.gz")) for entry in names):
        return "shar"
    if any(os.path.splitext(entry)[1].lower() in AUDIO_SUFFIXES for entry in names):
        return "folder"
    if any(entry.endswith(".tar") for entry in names):
        return "webdataset"
    return "parquet" if holds_tables(folder, names) else "folder"


def _names(folder: str) -> list[str]:
    """Names in a folder, of a URL's those below it too."""
    if is_url(folder):
        return [name for name, _ in list_folder(folder, (*AUDIO_SUFFIXES, ".tar", ".jsonl", ".gz", ".parquet"))]
    return sorted(os.listdir(folder))


def _from_tars(source: str, config: SourceConfig) -> Iterable[Utterance]:
    return tar_utterances(source, config.text_column, config.speaker_column)


def _from_dataset(source: str, config: SourceConfig) -> Iterable[Utterance]:
    columns = config.audio_column, config.text_column, config.speaker_column
    return dataset_utterances(source, config.split, columns)


def _from_parquet(source: str, config: SourceConfig) -> Iterable[Utterance]:
    columns = config.audio_column, config.text_column, config.speaker_column
    return parquet_utterances(source, config.split, columns)


_READERS: dict[str, Callable[[str, SourceConfig], Iterable[Utterance]]] = {
    "folder": lambda source, _: folder_utterances(source),
    "manifest": lambda source, config: manifest_utterances(source, config.root),
    "webdataset": _from_tars,
    "dataset": _from_dataset,
    "parquet": _from_parquet,
    "cuts": lambda source, _: cuts_utterances(source),
    "shar": lambda source, _: shar_utterances(source),
}
