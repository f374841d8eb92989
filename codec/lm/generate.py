"""``codec lm generate``: audio is decoded and written while the model draws its tokens."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from codec.atomic import atomic_path, check_target
from codec.audio.io import load_audio
from codec.errors import CodecError
from codec.lm.base import Request, SpeechLm
from codec.lm.config import SamplingConfig
from codec.lm.models import load_lm
from codec.model.codec import Codec
from codec.model.files import load_model


@dataclass(frozen=True)
class GenerateConfig:
    """Settings of ``codec lm generate``."""

    model: str = "runs/lm/export"
    """Folder that codec lm train wrote."""
    text: str | None = None
    """To be read out, by a model of text."""
    prompt: str | None = None
    """Recording of a voice; what is said goes on with it, and is written without it."""
    prompt_text: str | None = None
    """What the prompt says; a model of text then goes on in that voice."""
    codec: str | None = None
    """The codec, where it is not the one that the model was trained with by name."""
    max_seconds: float = 10.0
    """Stop after this much audio at the latest."""
    window: int = 25
    """Frames that the second stage of tts fills at once; 0: all, when the first stage is done."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.max_seconds < math.inf or self.window < 0:
            raise CodecError("max_seconds must be above 0 and finite, window 0 or more")


@dataclass(frozen=True)
class Generated:
    """What was written, in seconds.

    Attributes:
        audio: length.
        first: until the first audio was written, from when the models were loaded and the prompt was encoded.
        whole: until all of it was written.
    """

    audio: float
    first: float
    whole: float


def generate(config: GenerateConfig, output: Path, overwrite: bool = True) -> Generated:
    """Write audio while it is made.

    Args:
        overwrite: replace an existing file.

    Raises:
        CodecError: for a codec that the model is not of, or a request that does not fit the model.
    """
    kind = _format(output)
    check_target(output, overwrite)
    lm, about = load_lm(Path(config.model))
    codec = load_model(config.codec or about.codec)
    check_codec(lm, codec)
    request = request_of(config, lm, codec)
    samples, begun, first = 0, time.perf_counter(), math.nan
    with (
        atomic_path(output, overwrite) as temporary,
        soundfile.SoundFile(temporary, "w", codec.sample_rate, 1, format=kind) as file,
    ):
        for piece in speak(lm, codec, request):
            file.write(piece.numpy())
            file.flush()
            if not samples:
                first = time.perf_counter() - begun
            samples += len(piece)
    return Generated(samples / codec.sample_rate, first, time.perf_counter() - begun)


def check_codec(lm: SpeechLm, codec: Codec) -> None:
    """Raise a :class:`CodecError` unless the model's tokens are those of the codec."""
    if codec.fingerprint != lm.layout.vocab.fingerprint:
        raise CodecError(
            f"the model was trained on tokens of codec {lm.layout.vocab.fingerprint}, this is {codec.fingerprint}; "
            "give its codec: --codec"
        )


def request_of(config: GenerateConfig, lm: SpeechLm, codec: Codec) -> Request:
    """The request with its prompt as codes."""
    layers = lm.layout.num_codebooks
    prompt = torch.zeros(layers, 0, dtype=torch.int64)
    if config.prompt is not None:
        wav = load_audio(config.prompt, codec.sample_rate).wav
        prompt = codec.encode(wav, num_codebooks=layers).codes[0]
    elif config.prompt_text is not None:
        raise CodecError("a prompt's text is of no use without the prompt; give --prompt too")
    frames = max(1, round(config.max_seconds * lm.layout.vocab.frame_rate))
    return Request(prompt, config.text, config.prompt_text, frames, config.window, config.sampling, config.seed)


def speak(lm: SpeechLm, codec: Codec, request: Request) -> Iterator[Tensor]:
    """New audio ``(samples,)``, piece by piece, from the first frame's codes on.

    The decoder has heard the prompt, so that the new audio joins it without a seam.
    """
    decoder = codec.streaming_decoder()
    known = request.prompt.shape[1] * codec.hop_length
    if known:
        known -= decoder.push(request.prompt[None]).shape[1]
    for frame in lm.frames(request):
        wav = decoder.push(frame[None])[0]
        # What the overlap still held of the prompt.
        held, known = min(known, len(wav)), max(known - len(wav), 0)
        if len(wav) > held:
            yield wav[held:]
    wav = decoder.flush()[0][known:]
    if len(wav):
        yield wav


def _format(output: Path) -> str:
    kind = output.suffix.lstrip(".").upper()
    if kind not in ("WAV", "FLAC"):
        raise CodecError(f"{output}: audio is written as .wav or .flac while it is made; choose one of these")
    return kind
