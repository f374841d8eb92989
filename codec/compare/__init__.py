"""Comparisons at equal budget: train variants of one config over seeds, score them, tabulate."""

from codec.compare.comparison import compare
from codec.compare.config import CompareConfig
from codec.config import merge

__all__ = ["CompareConfig", "compare", "merge"]
