"""Whether a checkpoint belongs to the run that wants to go on from it."""

from typing import Any

from codec.errors import CodecError

# Settings that change where, how fast or how long a run goes, but no step that is taken.
FREE = {
    "output", "resume", "init_from", "max_steps", "checkpoint_every", "keep", "log_every",
    "sample_every", "tracker", "threads", "compile", "cuda_graphs", "data.cache", "data.root", "data.workers", "data.processes",
    "data.prefetch",
}  # fmt: skip


def check_same_run(saved: dict[str, Any], now: dict[str, Any], where: str) -> None:
    """Compare the plain data of two configs.

    Raises:
        CodecError: naming each setting that differs and may not.
    """
    before, after = _flatten(saved), _flatten(now)
    changed = [
        f"{key} was {before.get(key)!r} and is now {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and not _is_free(key)
    ]
    if changed:
        raise CodecError(
            f"{where} is of another run: {'; '.join(changed[:5])}"
            f"{f' and {len(changed) - 5} more' if len(changed) > 5 else ''}. "
            "Set them back, or start a new output folder with init_from"
        )


def _is_free(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in FREE)


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
