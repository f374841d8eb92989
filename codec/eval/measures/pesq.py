"""PESQ-WB by the package ``pesq``."""

from codec.eval.measures.base import Column, Measure
from codec.eval.measures.registry import measure
from codec.eval.types import SCORING_RATE, Pair, Skip


@measure("pesq")
class Pesq(Measure):
    """Wideband PESQ, MOS-LQO (ITU-T P.862.2): 1.0 to 4.64."""

    columns = (Column("pesq", "PESQ-WB", True),)
    packages = ("pesq",)
    resembles = ("loudness",)

    def __call__(self, pair: Pair) -> dict[str, float]:
        import pesq

        if not (pair.reference.any() and pair.output.any()):
            # The package divides by its level.
            raise Skip("PESQ finds no speech in it")
        try:
            score = pesq.pesq(SCORING_RATE, pair.reference, pair.output, "wb")
        except pesq.BufferTooShortError:
            raise Skip("shorter than the 0.25 s that PESQ needs") from None
        except pesq.NoUtterancesError:
            raise Skip("PESQ finds no speech in it") from None
        return {"pesq": float(score)}
