"""STOI and ESTOI by the package ``pystoi``."""

import warnings

from codec.eval.measures.base import Column, Measure
from codec.eval.measures.registry import measure
from codec.eval.types import SCORING_RATE, Pair, Skip


@measure("stoi")
class Stoi(Measure):
    """Short-time objective intelligibility (Taal et al. 2011): up to 1."""

    columns = (Column("stoi", "STOI", True, digits=3),)
    packages = ("pystoi",)
    extended = False

    def __call__(self, pair: Pair) -> dict[str, float]:
        import pystoi

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            score = pystoi.stoi(pair.reference, pair.output, SCORING_RATE, extended=self.extended)
        # pystoi answers 1e-5 with a warning where it has fewer than 30 frames of speech.
        if any(issubclass(warning.category, RuntimeWarning) for warning in caught):
            raise Skip("less than the 0.4 s of speech that STOI needs")
        return {self.name: float(score)}


@measure("estoi")
class Estoi(Stoi):
    """Extended STOI (Jensen and Taal 2016): up to 1."""

    columns = (Column("estoi", "ESTOI", True, digits=3),)
    extended = True
