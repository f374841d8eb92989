"""What probes of vectors look at: frames of any encoder, of a codec's encoder, and of its codes."""

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from codec.audio.io import load_audio
from codec.data import Clip
from codec.encoders.base import EncoderConfig
from codec.encoders.open import open_encoder
from codec.errors import CodecError
from codec.eval.probes.features import frame_features
from codec.eval.probes.sources import LATENTS, LatentSource, TokenSource, View, views

_LAYERS = ("avg", "last")


class EncoderFrames:
    """An encoder as a source of probes: it has frames, or one vector for a clip, and no tokens.

    Attributes:
        model: as ``codec embed`` takes it.
        layer: which of its outputs.
        frame_rate: frames per second; 0: one vector for a clip.
        offset: seconds of the first frame's centre.
    """

    num_codebooks = 0
    codebook_size = 0
    codebook_sizes: tuple[int, ...] = ()
    codebooks: Tensor | None = None

    def __init__(self, name: str, device: str = "cpu"):
        """
        Args:
            name: ``MODEL``, ``MODEL@OUTPUT`` or ``MODEL@LAYER``.

        Raises:
            CodecError: when it cannot be opened.
        """
        config = encoder_config(name, device)
        self.model, self._encoder = config.model, open_encoder(config)
        self.layer, self.offset = self._encoder.layer, self._encoder.offset
        self.frame_rate = self._encoder.rate or 0.0
        self.fingerprint = f"{self._encoder.name} {self.layer} {_files_of(self.model)}"
        self._frames: dict[str, Tensor] = {}

    def codes(self, clip: Clip) -> Tensor:
        """No clip has tokens here."""
        raise CodecError("an encoder has no tokens")

    def latents(self, clip: Clip) -> Tensor:
        """``(T, D)`` float32 on the CPU, kept in memory; ``(1, D)`` of an encoder of clips."""
        path = str(clip.audio)
        if path not in self._frames:
            try:
                wav = load_audio(clip.audio, self._encoder.sample_rate).wav
            except (OSError, RuntimeError) as error:
                raise CodecError(f"cannot be read ({type(error).__name__})") from None
            self._frames[path] = self._encoder.encode([wav])[0]
        return self._frames[path]


def _files_of(model: str) -> str:
    """Names, sizes and times of a model's files, which may be trained on in their place; nothing for a hub id."""
    place = Path(model).expanduser()
    files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    known = [(path.name, path.stat()) for path in files if path.is_file()]
    return " ".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in known)


def encoder_config(name: str, device: str = "cpu") -> EncoderConfig:
    """``MODEL@WHICH`` as options of an encoder; WHICH is avg, last, the number of a layer, or an output.

    Whisper hears 2 s of silence after a clip, not the 30 s window of its training, which is many times slower.
    """
    model, _, which = name.rpartition("@")
    whole = not model or Path(name).expanduser().exists()
    config = EncoderConfig(model=name if whole else model, tail_seconds=2.0, device=device)
    if whole:
        return config
    if which in _LAYERS or which.isdecimal():
        return dataclasses.replace(config, layer=which if which in _LAYERS else int(which))
    return dataclasses.replace(config, output=which)


def folder_name(name: str) -> str:
    """An encoder's name as that of a folder."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")


@dataclass(frozen=True)
class Shown:
    """One way to look at a clip.

    Attributes:
        view: its name in results.
        rate: frames per second; 0: one vector for a clip.
        offset: seconds of the first frame's centre.
        frames: from a clip to ``(T, D)`` float32.
    """

    view: View
    rate: float
    offset: float
    frames: Callable[[Clip], Tensor]

    def pooled(self, clip: Clip) -> Tensor:
        """``(D,)``: the mean over time."""
        return self.frames(clip).mean(dim=0)


def all_shown(tokens: TokenSource) -> Iterator[Shown]:
    """An encoder's output; of a codec also the vectors of its first codebook and of all of them."""
    rate = tokens.frame_rate
    offset = getattr(tokens, "offset", 0.5 / rate if rate else 0.0)
    if isinstance(tokens, LatentSource):
        view = View(0, tokens.layer) if isinstance(tokens, EncoderFrames) else LATENTS
        yield Shown(view, rate, offset, tokens.latents)
    for view in views(tokens) if tokens.num_codebooks else ():
        if view.features == "vectors":
            yield Shown(view, rate, offset, _vectors(view, tokens))


def _vectors(view: View, tokens: TokenSource) -> Callable[[Clip], Tensor]:
    return lambda clip: torch.as_tensor(frame_features(tokens.codes(clip), view, tokens))
