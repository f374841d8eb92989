"""Clips of a Hugging Face dataset, whose recordings are written next to the manifest unchanged.

Recordings are never decoded by the datasets library (that needs torchcodec): their bytes are copied.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codec.atomic import atomic_path
from codec.data import Clip
from codec.errors import CodecError


def hub_clips(config: Any, skipped: list[tuple[str, str]]) -> Iterator[Clip]:
    """Clips in the dataset's order; existing files are not written again.

    Args:
        config: a :class:`codec.data.corpus.CorpusConfig`.
        skipped: receives rows that hold no audio.

    Raises:
        CodecError: when the datasets library is missing, or the dataset, split or column.
    """
    rows = _load(config)
    folder = Path(config.output).resolve().parent / "audio" / re.sub(r"[^\w.-]+", "--", config.source)
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        audio = row[config.audio_column] or {}
        path = _store(audio, folder, number)
        if path is None:
            skipped.append((f"row {number}", "holds neither bytes nor a local file"))
            continue
        yield Clip(
            path=str(path),
            seconds=0.0,
            speaker=_string(row, config.speaker_column),
            language=_string(row, config.language_column) or config.language,
            text=_string(row, config.text_column),
            domain=config.domain or "speech",
        )


def _load(config: Any) -> Any:
    try:
        from datasets import Audio, load_dataset
    except ImportError:
        raise CodecError(
            f"{config.source} is a dataset id, which needs datasets; pip install datasets"
        ) from None
    if not Path(config.source).exists():
        _check_hub(config.source)
    try:
        rows = load_dataset(config.source, config.subset, split=config.split)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CodecError(f"{config.source}: the dataset cannot be loaded ({reason})") from None
    if config.audio_column not in rows.column_names:
        raise CodecError(
            f"{config.source}: no column {config.audio_column!r}; set audio_column to one of "
            f"{', '.join(rows.column_names)}"
        )
    return rows.cast_column(config.audio_column, Audio(decode=False))


def _check_hub(name: str) -> None:
    """Ask the Hub for the dataset once: the datasets library asks for half a minute, and then says less.

    Raises:
        CodecError: when there is no such dataset, or no network.
    """
    from huggingface_hub import HfApi, constants, errors

    if constants.HF_HUB_OFFLINE:
        return
    looked_for = f"{name}: no such folder or manifest here"
    try:
        HfApi().dataset_info(name, timeout=10)
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise CodecError(
            f"{looked_for}, and no dataset of the Hub that you may read; check the name, or run hf auth login for a "
            "private one"
        ) from None
    except errors.HfHubHTTPError:
        return  # the library below says more
    except Exception as error:  # noqa: BLE001  (of httpx or requests, by version)
        raise CodecError(
            f"{looked_for}, and the Hub cannot be reached ({' '.join(str(error).split())[:120]}); a dataset that was "
            "loaded before is read from the cache with HF_HUB_OFFLINE=1"
        ) from None


def _store(audio: dict[str, Any], folder: Path, number: int) -> Path | None:
    """Path of the row's recording: a local file as it is, bytes in a new file."""
    name, data = audio.get("path"), audio.get("bytes")
    if data is None:
        return Path(name).resolve() if name and Path(name).is_file() else None
    stem = Path(name).stem if name else "clip"
    # Rows of other splits and subsets have the same numbers, and may have the same names.
    content = hashlib.sha256(data).hexdigest()[:8]
    path = folder / f"{number:06d}-{stem}-{content}{Path(name or '').suffix or _suffix(data)}"
    if not path.is_file():
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
    return path


def _suffix(data: bytes) -> str:
    """File type by its first bytes."""
    signatures = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg"}
    return signatures.get(data[:4], ".mp3")


def _string(row: dict[str, Any], column: str | None) -> str | None:
    value = row.get(column) if column else None
    return None if value is None else str(value)
