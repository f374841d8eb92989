"""Scores of a model in memory, for training runs: no files, no worker processes."""

from collections.abc import Iterable, Sequence

import numpy as np

from codec.audio.io import load_audio
from codec.audio.resample import resample
from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.eval.align import remove_delay
from codec.eval.measures import MetricSettings, build_measures
from codec.eval.measures.base import Measure
from codec.eval.types import SCORING_RATE, Pair, Skip
from codec.model.codec import Codec


def score(
    model: Codec,
    clips: Iterable[Clip],
    measures: Sequence[str] = ("pesq", "stoi"),
    codebooks: int | None = None,
    settings: MetricSettings | None = None,
) -> dict[str, float]:
    """Mean metrics of a model over clips.

    Args:
        model: any codec, in eval mode.
        clips: recordings to encode and decode.
        measures: registered names; see :func:`codec.eval.measures.measure_names`.
        codebooks: how many layers to use; all by default.
        settings: for measures that need some, such as ``wer``.

    Returns:
        By column name the figure over the clips that could be scored, and under ``<measure>_clips``
        how many those were. A measure that scored no clip has only the count.

    Raises:
        CodecError: for an unknown measure, a missing package, no clips, or one that cannot be read.
    """
    metrics = build_measures(list(measures), settings or MetricSettings())
    pairs = [_pair(model, clip, codebooks) for clip in clips]
    if not pairs:
        raise CodecError("no clips to score")
    means: dict[str, float] = {}
    for metric in metrics:
        rows = [values for pair in pairs if pair and (values := _values(metric, pair))]
        means[f"{metric.name}_clips"] = len(rows)
        if rows:
            table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
            ones = np.ones((1, len(rows)))
            means |= {c.name: float(metric.pool(c.name, table, ones)[0]) for c in metric.columns}
    return means


def _pair(model: Codec, clip: Clip, codebooks: int | None) -> Pair | None:
    audio = load_audio(clip.audio)
    if not audio.wav.any():
        return None
    tokens = model.encode(audio.wav, audio.sample_rate, num_codebooks=codebooks)
    output = resample(model.decode(tokens)[0], model.sample_rate, SCORING_RATE).cpu().numpy()
    reference = resample(audio.wav, audio.sample_rate, SCORING_RATE).numpy()
    # Audio that was decoded lies where it was recorded.
    aligned = remove_delay(reference, output, 0, SCORING_RATE)
    return Pair(clip, aligned.reference, aligned.output)


def _values(metric: Measure, pair: Pair) -> dict[str, float] | None:
    try:
        return metric(pair)
    except Skip:
        return None
