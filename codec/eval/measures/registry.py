"""Measures by name."""

from codec.errors import CodecError
from codec.eval.measures.base import JudgeSettings, Measure

_MEASURES: dict[str, type[Measure]] = {}


def measure(name: str):
    """Class decorator: register a :class:`Measure` under ``name``."""

    def register(measure_class: type[Measure]) -> type[Measure]:
        measure_class.name = name
        _MEASURES[name] = measure_class
        return measure_class

    return register


def measure_names() -> list[str]:
    """Registered names in order of registration."""
    return list(_MEASURES)


def build_measures(names: list[str], settings: JudgeSettings) -> list[Measure]:
    """Measures by name, ready to judge.

    Raises:
        CodecError: for an unknown name, a missing package or a missing setting.
    """
    measures = []
    for name in dict.fromkeys(names):
        if name not in _MEASURES:
            raise CodecError(f"unknown measure {name!r}; known: {', '.join(_MEASURES)}")
        missing = _MEASURES[name].missing_packages()
        if missing:
            raise CodecError(
                f"measure {name!r} needs the package {', '.join(missing)}, which is not installed; "
                f"{_MEASURES[name].install}, or leave the measure out"
            )
        measures.append(_MEASURES[name].from_settings(settings))
    return measures


def installed_measures(names: list[str]) -> list[str]:
    """Those of ``names`` whose packages are there."""
    return [name for name in names if not _MEASURES[name].missing_packages()]


def ways_to_install(names: list[str]) -> list[str]:
    """Commands that bring the packages of ``names``, each once."""
    return list(dict.fromkeys(_MEASURES[name].install for name in names))
