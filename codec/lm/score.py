"""``codec lm score``: how well a model of text speaks, by recognisers and by its likeness to the prompt's voice."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from codec.atomic import atomic_file
from codec.audio.resample import resample
from codec.config import from_dict
from codec.console import counted, print_note
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.measures.base import Measure, MetricSettings
from codec.eval.measures.registry import build_measures, installed_measures
from codec.eval.probes.statistics import ratio, speaker_interval
from codec.eval.types import SCORING_RATE, Pair, Skip
from codec.lm.base import Request, SpeechLm
from codec.lm.config import LmConfig, SamplingConfig
from codec.lm.generate import check_codec, speak
from codec.lm.models import load_lm
from codec.lm.pieces import Piece, read_pieces
from codec.lm.train import EXPORT, RUN
from codec.model.codec import Codec
from codec.model.files import load_model

_NAMES = ("wer", "wer_moonshine", "speaker")


@dataclass(frozen=True)
class ScoreConfig:
    """Settings of ``codec lm score``."""

    run: str = "runs/tts"
    """Folder of codec lm train, with task=tts."""
    corpus: str | None = None
    """A corpus of other speakers to take texts and prompts from; by default the clips that the run held out."""
    clips: int = 40
    """Limit on the texts, the first by draw."""
    asr: str | None = None
    """faster-whisper folder, or a transformers model, for WER; Moonshine's is measured where it is installed."""
    window: int = 25
    """Frames that the second stage fills at once; 0: all, when the first stage is done."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.clips < 2 or self.window < 0:
            raise CodecError("clips must be 2 or more, window 0 or more")


@dataclass(frozen=True)
class Spoken:
    """One text: what the model makes of it, and the recording that it was taken from, as its codes decode.

    Attributes:
        prompt: ``(samples,)`` of the prompt, another clip.
        output: ``(samples,)`` of the model; ``None`` if it said nothing.
        original: ``(samples,)`` of the clip with this text.
    """

    piece: Piece
    prompt: np.ndarray
    output: np.ndarray | None
    original: np.ndarray


def score(config: ScoreConfig, output: Path) -> dict[str, Any]:
    """Let a model read out texts that it was not trained on, each in the voice of another clip.

    Writes ``NNN.wav`` for each text, and ``score.json``: word error rates of the model and of the decoded original
    clips, and cosines with the prompt's voice: of the model, of the original clip (mostly another voice: the floor),
    and of one half of the prompt with the other (the ceiling).

    Raises:
        CodecError: for a run without text, a codec that does not fit it, or no metric that is installed.
    """
    measures = _measures(config.asr)
    settings = read_settings(Path(config.run))
    if settings.task != "tts":
        raise CodecError(f"{config.run}: task {settings.task} reads no text; train with task=tts")
    lm, about = load_lm(Path(config.run) / EXPORT)
    codec = load_model(about.codec)
    check_codec(lm, codec)
    pieces = pieces_of(config, settings, lm)
    output.mkdir(parents=True, exist_ok=True)
    texts: list[dict[str, Any]] = []
    for number, spoken in enumerate(read_out(lm, codec, pieces, config)):
        if spoken.output is not None:
            soundfile.write(output / f"{number:03}.wav", spoken.output, SCORING_RATE)
        texts.append(_row(spoken, measures))
        print_note(f"{number + 1} of {len(pieces)}: {texts[-1]['model'].get('transcript') or '(nothing)'}")
    report = {"config": asdict(config), "texts": len(texts), "measures": _pool(texts, config.seed), "by_text": texts}
    with atomic_file(output / "score.json") as file:
        file.write((json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
    return report


def read_settings(run: Path) -> LmConfig:
    """The settings that a run keeps.

    Raises:
        CodecError: for another folder.
    """
    try:
        values = json.loads((run / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CodecError(f"{run}: no {RUN} that can be read; give the output folder of codec lm train") from None
    values.pop("fingerprint", None)
    return from_dict(LmConfig, values, RUN)


def pieces_of(config: ScoreConfig, settings: LmConfig, lm: SpeechLm) -> list[Piece]:
    """The clips whose texts are read out: those that have no character that the model has never read.

    Raises:
        CodecError: when fewer than two are left.
    """
    if config.corpus is not None:
        settings = dataclasses.replace(settings, test_corpus=config.corpus)
    pieces = read_pieces(dataclasses.replace(settings, max_test_clips=max(settings.max_test_clips, 10 * config.clips)))
    known = [piece for piece in pieces.test if _reads(lm, piece.text or "")]
    if len(known) < len(pieces.test):
        left = counted(len(pieces.test) - len(known), "clip")
        print_note(f"{left} left out: the model has never read a character of their texts")
    if len(known) < 2:
        raise CodecError(
            f"{config.corpus or config.run}: fewer than two clips have texts that the model can read, and each needs "
            "another as its prompt; give another --corpus"
        )
    return known[: config.clips]


def _reads(lm: SpeechLm, text: str) -> bool:
    try:
        if lm.characters is not None:
            lm.characters.encode(text)
    except CodecError:
        return False
    return True


def read_out(lm: SpeechLm, codec: Codec, pieces: Sequence[Piece], config: ScoreConfig) -> Iterator[Spoken]:
    """Each text after the next clip as its prompt, at :data:`SCORING_RATE`."""
    for number, piece in enumerate(pieces):
        prompt = pieces[(number + 1) % len(pieces)]
        # Runaway speech counts as errors, but has to end.
        limit = 3 * piece.codes.shape[1]
        request = Request(
            prompt.codes, piece.text, prompt.text, limit, config.window, config.sampling, config.seed + number
        )
        parts = list(speak(lm, codec, request))
        yield Spoken(
            piece,
            _wav(codec.decode(prompt.codes)[0], codec),
            _wav(torch.cat(parts), codec) if parts else None,
            _wav(codec.decode(piece.codes)[0], codec),
        )


def _wav(wav: Tensor, codec: Codec) -> np.ndarray:
    return resample(wav, codec.sample_rate, SCORING_RATE).float().numpy()


def _measures(asr: str | None) -> list[Measure]:
    names = installed_measures([name for name in _NAMES if asr is not None or name != "wer"])
    if not names:
        raise CodecError("no recogniser and no speaker model is installed; pip install 'codec[eval]', and give --asr")
    return build_measures(names, MetricSettings(asr=asr))


def _row(spoken: Spoken, measures: Sequence[Measure]) -> dict[str, Any]:
    half = len(spoken.prompt) // 2
    outputs = {
        "model": (spoken.prompt, spoken.output),
        "original": (spoken.prompt, spoken.original),
        "prompt": (spoken.prompt[:half], spoken.prompt[half:]),
    }
    row: dict[str, Any] = {"clip": spoken.piece.clip, "speaker": spoken.piece.speaker, "text": spoken.piece.text}
    for name, (reference, heard) in outputs.items():
        # Silence, of which no word is heard, where a model says nothing.
        wav = np.zeros(SCORING_RATE, np.float32) if heard is None else heard
        clip = Clip(spoken.piece.clip, len(wav) / SCORING_RATE, language="en", text=spoken.piece.text)
        row[name] = {}
        for measure in measures:
            if name == "prompt" and measure.name != "speaker":
                continue
            try:
                row[name] |= measure(Pair(clip, reference, wav)) | measure.notes(Pair(clip, reference, wav))
            except Skip as reason:
                row[name][f"{measure.name}_skipped"] = str(reason)
    return row


def _pool(texts: Sequence[dict[str, Any]], seed: int) -> dict[str, dict[str, Any]]:
    """Figures of each kind of output: rates over all words, mean cosines, with intervals over speakers."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("model", "original", "prompt"):
        for label, sums in _SUMS.items():
            rows = [(sums(text[name]), text["speaker"]) for text in texts if sums(text[name]) is not None]
            if not rows:
                continue
            counts = np.array([counted for counted, _ in rows], dtype=float)
            interval = speaker_interval(counts, [speaker for _, speaker in rows], ratio, seed)
            figure = {"value": ratio(counts.sum(0)), "low": interval.low, "high": interval.high, "texts": len(rows)}
            found.setdefault(label, {})[name] = figure
    return found


def _words(suffix: str) -> Callable[[dict[str, Any]], tuple[float, float] | None]:
    def counts(row: dict[str, Any]) -> tuple[float, float] | None:
        return (row[f"errors{suffix}"], row[f"reference_words{suffix}"]) if f"errors{suffix}" in row else None

    return counts


def _cosine(row: dict[str, Any]) -> tuple[float, float] | None:
    return (row["speaker"], 1.0) if "speaker" in row else None


_SUMS: dict[str, Callable[[dict[str, Any]], tuple[float, float] | None]] = {
    "wer": _words(""),
    "wer_moonshine": _words("_moonshine"),
    "speaker": _cosine,
}
