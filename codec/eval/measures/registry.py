"""Measures by name."""

from codec.errors import CodecError
from codec.eval.measures.base import Measure, MetricSettings
from codec.registry import Registry


def _introduce(name: str, measure_class: type[Measure]) -> None:
    measure_class.name = name


MEASURES: Registry[type[Measure]] = Registry("measure", "codec.eval.measures", introduce=_introduce)

measure = MEASURES.register
"""Class decorator: register a :class:`Measure` under a name."""


def measure_names() -> list[str]:
    """Registered names in order of registration."""
    return list(MEASURES)


def build_measures(names: list[str], settings: MetricSettings) -> list[Measure]:
    """Metrics by name, ready to use.

    Raises:
        CodecError: for an unknown name, a missing package or a missing setting.
    """
    measures = []
    for name in dict.fromkeys(names):
        measure_class = MEASURES.find(name)
        missing = measure_class.missing_packages()
        if missing:
            raise CodecError(
                f"measure {name!r} needs the package {', '.join(missing)}, which is not installed; "
                f"{measure_class.install}, or leave the measure out"
            )
        measures.append(measure_class.from_settings(settings))
    return measures


def installed_measures(names: list[str]) -> list[str]:
    """The metrics among ``names`` whose packages are installed."""
    return [name for name in names if not MEASURES[name].missing_packages()]


def ways_to_install(names: list[str]) -> list[str]:
    """Commands that bring the packages of ``names``, each once."""
    return list(dict.fromkeys(MEASURES[name].install for name in names))
