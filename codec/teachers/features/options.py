"""Whether cached features are those that a configured teacher would give, told without its model.

Each file of features keeps its teacher's options, as one JSON object: dotted keys, models by name, and no defaults, so
that a new option leaves old files as they are.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.encoders.layers import layer_name

if TYPE_CHECKING:
    from codec.teachers.features.cache import FeatureInfo

UNSET = "unset"
"""In the place of an option that is not given."""
_BY_WEIGHTS = re.compile(r"[a-z]+-[0-9a-f]{12,16}")
"""A name that is made from weights, see :mod:`codec.encoders.own`."""
_CHOSEN = re.compile(r"last|[\d,]+")
"""The layers of a transformers model, other than the mean of all."""


@dataclass(frozen=True)
class ModelName:
    """What a cache calls a model."""

    name: str | None
    """``None``: only its weights could say, and they are not on this machine."""
    here: bool = True
    """Whether ``name`` is certain; otherwise it is what the config says, a hub id or a folder of another machine."""

    def covers(self, cached: str) -> bool:
        """Whether the cache's model may be this one."""
        if self.name is None or cached == self.name:
            return True
        if self.here:
            return False
        is_path = self.name.startswith((".", "/", "~")) or self.name.count("/") > 1
        return cached == Path(self.name).name or (is_path and _BY_WEIGHTS.fullmatch(cached) is not None)


@dataclass(frozen=True)
class TeacherOptions:
    """The options of a configured teacher."""

    values: Mapping[str, Any]
    """By dotted key, without defaults and those that change no feature; models are :class:`ModelName`."""
    facts: Mapping[str, Any]
    """What :func:`stated` says of the features."""

    @property
    def record(self) -> str:
        """What a file of features keeps of them."""
        plain = {key: value.name if isinstance(value, ModelName) else value for key, value in self.values.items()}
        return json.dumps(plain, sort_keys=True, default=str)

    def differences(self, info: "FeatureInfo", named: bool = False) -> list[str]:
        """One phrase for each way in which features are none of this teacher's.

        Args:
            info: of the features.
            named: leave the model out, since the config says what the cache calls it.
        """
        if not info.options:
            return self._unrecorded(info, named)

        def same(key: str, old: Any, new: Any) -> bool:
            if named and _last(key) == "model":
                return True
            if isinstance(new, ModelName):
                return old is None or new.covers(str(old))
            # What was not given is what the features turned out to be.
            return _equal(key, old, new) or (old == UNSET and _equal(key, _outcome(key, info), new))

        return _compare(_read(info.options), self.values, same)

    def _unrecorded(self, info: "FeatureInfo", named: bool) -> list[str]:
        """The same of features from before files kept options."""
        problems = []
        model = next((value for value in self.values.values() if isinstance(value, ModelName)), None)
        if model is not None and self.facts and not named and not model.covers(info.teacher):
            problems.append(_phrase("teacher", info.teacher, model))
        # Models without a choice of layers take avg too, whatever they call what they give.
        layered = _CHOSEN.fullmatch(info.layer) and not _BY_WEIGHTS.fullmatch(info.teacher)
        for key, value in self.facts.items():
            found = getattr(info, key)
            if not _equal(key, found, value) and (layered or (key, value) != ("layer", "avg")):
                problems.append(_phrase(key, found, value))
        return problems


def changed_options(made: str, now: str) -> list[str]:
    """One phrase for each option in which two records differ, of features that agree in all else."""
    if made == now or not made or not now:
        return []

    def same(key: str, old: Any, new: Any) -> bool:
        return _equal(key, old, new) or (_is_described(key) and UNSET in (old, new))

    return _compare(_read(made), _read(now), same)


def stated(options: Mapping[str, Any]) -> dict[str, Any]:
    """What options alone say of the features: mode, level, layer, rate, dim; nothing for other packages' types."""
    kind = options.get("type")
    if kind == "pooled":
        facts = stated(options.get("of") or {})
        facts.pop("dim", None)
        return facts and {**facts, "mode": f"{facts['mode']} {options.get('pool', 'mean')}", "level": "clip"}
    if kind == "labels":
        return {"mode": "labels"}
    if kind not in ("speech", "music", "embedding", "language"):
        return {}
    facts = {key: options[key] for key in ("level", "rate", "dim") if options.get(key) is not None}
    if facts.get("level") == "clip":
        # A vector has no rate, though the frames that it is the mean of have.
        facts.pop("rate", None)
    layer = options.get("output") or options.get("layer")
    if layer is not None:
        facts["layer"] = layer_name(layer)
    return {**facts, "mode": options.get("mode", "aligned") if kind == "language" else kind}


def _read(record: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(record)
    return values


def _compare(
    first: Mapping[str, Any], second: Mapping[str, Any], same: Callable[[str, Any, Any], bool]
) -> list[str]:
    """One phrase for each option that is not the same, or the types alone, since each has options of its own."""
    pairs = {key: (first.get(key, UNSET), second.get(key, UNSET)) for key in sorted(first.keys() | second.keys())}
    differing = [key for key, values in pairs.items() if not same(key, *values)]
    types = [key for key in differing if _last(key) == "type"]
    return [_phrase(key, *pairs[key]) for key in types[-1:] or differing]


def _equal(key: str, old: Any, new: Any) -> bool:
    if _last(key) == "rate" and isinstance(old, (int, float)) and isinstance(new, (int, float)):
        # As near as an encoder may be to its declaration.
        return math.isclose(old, new, rel_tol=1e-3)
    return bool(old == new)


def _is_described(key: str) -> bool:
    """Whether a :class:`FeatureInfo` says what became of an option; of a pooled teacher's frames it says less."""
    return _last(key) in ("layer", "output", "rate", "offset") or key in ("level", "dim")


def _outcome(key: str, info: "FeatureInfo") -> Any:
    """What became of an option that was not given; UNSET where features do not say."""
    return getattr(info, "layer" if _last(key) == "output" else _last(key)) if _is_described(key) else UNSET


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _phrase(key: str, old: Any, new: Any) -> str:
    values = (value.name if isinstance(value, ModelName) else value for value in (old, new))
    first, second = (UNSET if value == UNSET else repr(value) for value in values)
    return f"{key} {first} instead of {second}"
