"""Moonshine tiny, a recogniser that shares no weights with any teacher; they come inside ``moonshine-voice``."""

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import CodecError
from codec.eval.measures.base import MetricSettings
from codec.eval.measures.recognition import WordErrors
from codec.eval.measures.registry import measure
from codec.eval.types import SCORING_RATE, Pair, Skip

_SHORTEST, _LONGEST = 0.1, 30.0
"""Seconds: what its convolutions need, and the longest clips that it was trained on."""
_TOKENS_PER_SECOND = 6.5
"""More is a loop, not speech (Jeffries et al. 2024 stop there too)."""
_START, _END = 1, 2
_FIRST_CONTROL = 32_000
"""Tokens from here on are no text."""
_HEADS, _HEAD_WIDTH = 8, 36


@measure("wer_moonshine")
class MoonshineErrors(WordErrors):
    """Errors over all words (jiwer) of Moonshine tiny's greedy recognition, both texts through Whisper's normaliser.

    It knows English only, clips of up to 30 s.
    """

    title = "Moonshine"
    suffix = "_moonshine"
    packages = ("jiwer", "whisper_normalizer", "moonshine-voice", "onnxruntime")
    install = "pip install --no-deps moonshine-voice==0.0.73"
    resembles = ("moonshine",)

    @classmethod
    def from_settings(cls, settings: MetricSettings) -> "MoonshineErrors":
        if not all((_folder() / name).is_file() for name in _FILES):
            raise CodecError(f"this moonshine-voice carries no weights in assets/tiny-en; {cls.install}")
        return cls()

    def transcribe(self, pair: Pair) -> str:
        if (pair.clip.language or "en") != "en":
            raise Skip("Moonshine knows English only")
        if not _SHORTEST <= len(pair.output) / SCORING_RATE <= _LONGEST:
            raise Skip(f"outside the {_SHORTEST:g} to {_LONGEST:g} s that Moonshine accepts")
        return _cached_transcript(pair.output.tobytes())


_FILES = ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin")


@lru_cache(maxsize=4)
def _cached_transcript(samples: bytes) -> str:
    return _recogniser()(np.frombuffer(samples, dtype=np.float32))


def _folder() -> Path:
    # Importing the package would load its own native library, which is not needed.
    spec = importlib.util.find_spec("moonshine_voice")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "assets" / "tiny-en"


@lru_cache(maxsize=1)
def _recogniser() -> Callable[[np.ndarray], str]:
    """Greedy recognition of ``(T,)`` float32 at 16 kHz, on one thread."""
    encoder, decoder = (_session(_folder() / name) for name in _FILES[:2])
    words = read_vocabulary((_folder() / _FILES[2]).read_bytes())
    memory = [entry.name for entry in decoder.get_inputs() if entry.name.startswith("past_key_values")]

    def transcribe(wav: np.ndarray) -> str:
        # The mask is one of samples in the decoder too.
        mask = np.ones((1, len(wav)), np.int64)
        (states,) = encoder.run(None, {"input_values": wav[None], "attention_mask": mask})
        known = {"encoder_attention_mask": mask, "encoder_hidden_states": states}
        past = {name: np.zeros((1, _HEADS, 0, _HEAD_WIDTH), np.float32) for name in memory}
        tokens = [_START]
        for step in range(int(len(wav) / SCORING_RATE * _TOKENS_PER_SECOND) + 2):
            inputs = {"input_ids": np.array([tokens[-1:]]), "use_cache_branch": np.array([step > 0])}
            logits, *present = decoder.run(None, known | past | inputs)
            best = int(logits[0, -1].argmax())
            if best == _END:
                break
            tokens.append(best)
            # Only the first step returns the encoder's output.
            new = dict(zip(memory, present, strict=True))
            past |= {name: value for name, value in new.items() if step == 0 or ".decoder." in name}
        text = b"".join(words[token] for token in tokens[1:] if token < _FIRST_CONTROL)
        return text.decode(errors="replace").replace("\u2581", " ").strip()

    return transcribe


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def read_vocabulary(data: bytes) -> list[bytes]:
    """Tokens of ``tokenizer.bin``: each a length (one byte, or two from 128 on, low part first) and its bytes."""
    words, place = [], 0
    while place < len(data):
        size = data[place]
        place += 1
        if size >= 128:
            size += 128 * (data[place] - 1)
            place += 1
        words.append(data[place : place + size])
        place += size
    return words
