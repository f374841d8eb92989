"""Checkpoints on disk: a folder of safetensors files with checksums, complete or absent.

``step-00001000/`` holds one safetensors file per part, ``meta.json``, and ``manifest.json`` with the
SHA-256 of each.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from codec.atomic import atomic_folder
from codec.config import flatten
from codec.errors import CodecError

Parts = dict[str, dict[str, Tensor]]

FREE = frozenset(
    {
        *("output", "resume", "init_from", "max_steps", "checkpoint_every", "keep", "log_every", "sample_every"),
        *("tracker", "threads"),
    }
)
"""Settings of any run that change where, how fast or how long it goes, but no step that is taken."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        step: steps that were done.
        parts: tensors by name, by part.
        meta: plain data.
    """

    step: int
    parts: Parts
    meta: dict[str, Any]


def checkpoint_name(step: int) -> str:
    """The folder of a checkpoint, such that names sort as steps do."""
    return f"step-{step:08d}"


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint, then delete all but the newest ``keep``.

    Raises:
        CodecError: when it cannot be written; earlier checkpoints are untouched.
    """
    final = folder / checkpoint_name(checkpoint.step)
    try:
        with atomic_folder(final) as temporary:
            _write_files(temporary, checkpoint)
    except (OSError, SafetensorError) as error:
        left = list_checkpoints(folder)
        last = f"the last good one is {left[-1].name}" if left else "there is no earlier one"
        raise CodecError(f"{final}: cannot write the checkpoint ({_reason(error)}); {last}") from None
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / "manifest.json").is_file())


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        CodecError: when a file is missing or its checksum is wrong.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        for name, checksum in manifest["sha256"].items():
            if _sha256(folder / name) != checksum:
                raise CodecError(f"{folder / name}: damaged (its checksum is wrong)")
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        files = [name for name in manifest["sha256"] if name.endswith(".safetensors")]
        parts = {Path(name).stem: load_file(folder / name) for name in files}
        return Checkpoint(manifest["step"], parts, meta)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CodecError(f"{folder}: damaged or no checkpoint ({_reason(error)})") from None


def read_latest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole; ``None`` when the folder has none at all.

    Args:
        folder: with ``step-*`` folders.
        warn: called with a line about each damaged checkpoint that is passed over.

    Raises:
        CodecError: when there are checkpoints and all are damaged.
    """
    found = list_checkpoints(folder)
    for path in reversed(found):
        try:
            return read_checkpoint(path)
        except CodecError as error:
            warn(f"{error}; trying the one before")
    if found:
        raise CodecError(f"{folder}: all {len(found)} checkpoints are damaged; start a new output folder")
    return None


def _write_files(folder: Path, checkpoint: Checkpoint) -> None:
    for name, tensors in checkpoint.parts.items():
        # safetensors refuses tensors that share memory, and wants them dense.
        dense = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        save_file(dense, folder / f"{name}.safetensors")
    (folder / "meta.json").write_text(json.dumps(checkpoint.meta, indent=1), encoding="utf-8")
    checksums = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    manifest = {"step": checkpoint.step, "sha256": checksums}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    full = getattr(error, "errno", None) == 28 or "No space left" in text or "os error 28" in text
    return f"the disk is full: {text}" if full else text


def check_same_run(
    saved: dict[str, Any],
    now: dict[str, Any],
    where: str,
    free: frozenset[str] = frozenset(),
    remedy: str = "Set them back, or start a new output folder with init_from",
) -> None:
    """Compare the plain data of two configs.

    Args:
        where: whose they are.
        free: settings besides :data:`FREE` that may differ.
        remedy: last sentence of the error.

    Raises:
        CodecError: naming each setting that differs and may not.
    """
    before, after = flatten(saved), flatten(now)
    changed = [
        f"{key} was {before.get(key)!r} and is now {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and not _is_free(key, FREE | free)
    ]
    if changed:
        raise CodecError(
            f"{where} is of another run: {'; '.join(changed[:5])}"
            f"{f' and {len(changed) - 5} more' if len(changed) > 5 else ''}. {remedy}"
        )


def _is_free(key: str, free: frozenset[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in free)
