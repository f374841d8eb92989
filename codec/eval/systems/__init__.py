"""Systems that code speech: the original, our models, and baselines."""

from codec.deprecation import renamed
from codec.eval.systems.base import System
from codec.eval.systems.original import Original
from codec.eval.systems.ours import Ours, model_systems
from codec.eval.systems.registry import baseline, baseline_names, parse_baseline

__all__ = ["Original", "Ours", "System", "baseline", "baseline_names", "model_systems", "parse_baseline"]

__getattr__ = renamed(
    __name__,
    {
        "peer": ("baseline", baseline),
        "peer_names": ("baseline_names", baseline_names),
        "parse_peer": ("parse_baseline", parse_baseline),
    },
)
