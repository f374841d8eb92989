"""Small corpora for tests, and what is compared of their tokens."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import soundfile
from conftest import make_speech

from codec.corpora.encode import BatchConfig
from codec.corpora.plan import Sizes
from codec.corpora.run import TokenizeConfig, tokenize
from codec.corpora.sources import SourceConfig

SECONDS = (0.3, 1.7, 0.02, 0.9, 0.31, 2.6, 0.5)


def write_clips(folder: Path, seconds=SECONDS, suffix: str = ".wav") -> list[Path]:
    """Clips of several rates in two folders, the first with its text."""
    paths = []
    for number, length in enumerate(seconds):
        path = folder / ("b" if number % 3 else "a") / f"clip{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = (16_000, 24_000)[number % 2]
        soundfile.write(path, make_speech(length, rate, seed=number), rate)
        paths.append(path)
    paths[0].with_suffix(".txt").write_text("hello world\n")
    return sorted(paths)


def config_of(model: Path, source: Path | str, **settings) -> TokenizeConfig:
    """Shards of 3 clips, batches of 3 seconds; ``SourceConfig`` may be given as ``source_options``."""
    options = settings.pop("source_options", {})
    values = {
        "model": str(model),
        "device": "cpu",
        "source": SourceConfig(str(source), **options),
        "sizes": Sizes(shard_clips=settings.pop("shard_clips", 3)),
        "batching": BatchConfig(settings.pop("batch_seconds", 3.0), settings.pop("decode_threads", 1)),
        "workers": 1,
    }
    return TokenizeConfig(**(values | settings))


def make_corpus(folder: Path, model: Path, source: Path | str, **settings) -> Path:
    tokenize(config_of(model, source, **settings), folder)
    return folder


def rows_of(folder: Path) -> list[dict]:
    """All rows, as pyarrow reads them."""
    return [row for path in sorted((folder / "shards").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def codes_of(row: dict) -> np.ndarray:
    return np.array([row[name] for name in sorted(row) if name[0] == "c" and name[1:].isdigit()], np.int64)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a corpus, unfinished ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
