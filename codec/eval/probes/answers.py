"""How well questions about clips were answered: balanced accuracy, or mean average precision of tags."""

import numpy as np

from codec.eval.probes.questions import Question
from codec.eval.probes.sources import View
from codec.eval.probes.statistics import ProbeInterval, mean_of_ratios, speaker_interval
from codec.eval.probes.types import Finding
from codec.eval.statistics import bootstrap, group_indices, multinomial


def finding(probe: str, question: Question, view: View, scores: np.ndarray, seed: int) -> Finding:
    """The result of a question, with an interval over its units.

    Args:
        probe: begins the result's name.
        scores: ``(N, C)``, how much each class is that of each clip.
    """
    if question.several:
        return _precision(f"{probe}_{question.name}_map", question, view, scores, seed)
    tally = np.zeros((*question.truth.shape, 2))
    which, rows = question.truth.argmax(axis=1), np.arange(len(scores))
    tally[rows, which, 0] = scores.argmax(axis=1) == which
    tally[rows, which, 1] = 1
    interval = speaker_interval(tally, question.units, mean_of_ratios, seed)
    value = mean_of_ratios(tally.sum(axis=0))
    name, chance = f"{probe}_{question.name}_accuracy", 1 / len(question.classes)
    return Finding.of(name, view, value, interval, chance, "higher", len(scores))


def _precision(name: str, question: Question, view: View, scores: np.ndarray, seed: int) -> Finding:
    units, owner = group_indices(question.units)

    def of_draws(draws: np.ndarray) -> np.ndarray:
        return mean_average_precision(scores, question.truth, draws[:, owner])

    low, high = bootstrap(of_draws, units, seed, multinomial)
    interval = ProbeInterval(low, high, units, "group")
    value = mean_average_precision(scores, question.truth, np.ones((1, len(scores))))[0]
    # That of scores without information: how common a tag is.
    return Finding.of(name, view, value, interval, float(question.truth.mean()), "higher", len(scores))


def mean_average_precision(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over classes of average precision, for several weightings of the clips.

    Args:
        scores: ``(N, C)``; of equal scores, the first clip counts as the higher one.
        truth: ``(N, C)`` bool.
        weights: ``(M, N)``, how often each clip is there.

    Returns:
        ``(M,)``; classes that no clip has are left out.
    """
    found = []
    for own, right in zip(scores.T, truth.T, strict=True):
        order = np.argsort(-own, kind="stable")
        weight, hit = weights[:, order], weights[:, order] * right[order]
        precision = hit.cumsum(axis=1) / np.maximum(weight.cumsum(axis=1), 1e-12)
        total = hit.sum(axis=1)
        found.append(np.where(total > 0, (hit * precision).sum(axis=1) / np.maximum(total, 1e-12), np.nan))
    return np.nanmean(np.stack(found), axis=0)
