"""bfloat16 on processors that have no instructions for it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch

from codec.console import print_note

_SIDE = 192
"""Of the matrices that are multiplied: a few milliseconds where bfloat16 is slow, far less elsewhere."""
_SLOW = 4.0
"""Processors with instructions for bfloat16 lie far below this ratio, those that imitate it far above."""
_FLOAT32 = {("precision", "bf16"): "fp32", ("dtype", "bfloat16"): "float32", ("bf16", True): "false"}
"""Settings that ask for bfloat16, and the values that ask for float32 instead."""


@cache
def bf16_slowdown() -> float:
    """How many times as long a matrix product takes this CPU in bfloat16 as in float32."""
    return _seconds(torch.bfloat16) / _seconds(torch.float32)


def warn_of_slow_bf16(settings: Mapping[str, Any], resumed: bool = False) -> None:
    """Say which settings of a config make this CPU slow, before the work starts.

    The numbers are right all the same, so it is no error.

    Args:
        resumed: the run was begun with these settings and has to keep them, so only a new one may have others.
    """
    _warn(list(_without_bf16(settings)), resumed)


def warn_of_slow_variants(settings: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """The same for the runs of a comparison, each a variant's name and its settings, by the comparison's keys."""
    changes = [(variant, change) for variant, values in settings for change in _without_bf16(values)]
    everywhere = {change for _, change in changes if all((variant, change) in changes for variant, _ in settings)}
    places = [("overrides" if change in everywhere else f"variants.{variant}", change) for variant, change in changes]
    keys = [f"{place}.{change}" for place, change in places]
    _warn(list(dict.fromkeys(keys)), resumed=False)


def _warn(changes: list[str], resumed: bool) -> None:
    if changes and (slowdown := bf16_slowdown()) > _SLOW:
        told = f"this CPU computes bf16 {slowdown:.0f} times as slowly as float32"
        advice = "a resumed run keeps it, and a new one may set" if resumed else "set"
        print_note(f"warning: {told}; {advice} {' '.join(changes)}")


def _without_bf16(settings: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _without_bf16(value, f"{path}{key}.")
        elif isinstance(value, (str, bool)) and (key, value) in _FLOAT32:
            yield f"{path}{key}={_FLOAT32[key, value]}"


def _seconds(dtype: torch.dtype) -> float:
    matrix = torch.ones(_SIDE, _SIDE, dtype=dtype)
    matrix @ matrix
    times = []
    for _ in range(3):
        start = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - start)
    return min(times)
