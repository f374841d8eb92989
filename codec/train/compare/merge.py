"""Deep overrides of plain settings."""

from typing import Any

from codec.errors import CodecError


def merge(base: dict[str, Any], changes: dict[str, Any], where: str = "") -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, both left as they are.

    Mappings are merged key by key, a value of ``None`` removes its key, and all else replaces what was
    there, lists included.

    Args:
        base: plain settings.
        changes: plain settings, or a part of them.
        where: dotted path of ``base`` inside the whole config, for error messages.

    Raises:
        CodecError: when a key is to be removed that is not there, since it may be misspelled.
    """
    merged = dict(base)
    for key, value in changes.items():
        path = f"{where}.{key}" if where else str(key)
        if value is None:
            if key not in merged:
                raise CodecError(f"{path}: null removes a setting, and there is none of that name")
            del merged[key]
        elif isinstance(value, dict):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, dict) else {}, value, path)
        else:
            merged[key] = value
    return merged
