"""Encoders of this project as networks that can be trained further, for a head on a clip's vector."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from codec.encoders.own import CODEC, is_own
from codec.errors import CodecError
from codec.model.files import load_model
from codec.pretraining.models.files import FRAMES, PATCHES, kind_of, load_pretrained
from codec.pretraining.models.frames import FrameEncoder, FrameEncoderConfig
from codec.pretraining.models.patches import PatchEncoder
from codec.pretraining.models.released import is_released, read_released
from codec.students.files import load_student
from codec.students.student import Student


@dataclass(frozen=True)
class Trainable:
    """An encoder with gradients.

    Attributes:
        module: its weights.
        vectors: from ``wav (B, window)`` to ``(B, D)``, the mean over time.
        window: samples that it hears at once, at most; ``None``: any number.
        exact: whether it hears no fewer.
    """

    module: nn.Module
    sample_rate: int
    vectors: Callable[[Tensor], Tensor]
    window: int | None = None
    exact: bool = False

    def window_of(self, samples: int) -> int:
        """The window that is nearest to a wish."""
        if self.window is None:
            return samples
        return self.window if self.exact else min(samples, self.window)


def open_trainable(model: str, device: str = "cpu") -> Trainable:
    """An encoder by the name that ``codec embed`` takes, if it is one that this project trains.

    Raises:
        CodecError: for any other, and as when it is opened frozen.
    """
    if not is_own(model):
        raise CodecError(f"{model}: only encoders that this project trains can be trained further")
    kind = kind_of(Path(model).expanduser())
    if is_released(model):
        return _patches(read_released(model).to(device))
    if kind == "student":
        student = load_student(model, device)
        return Trainable(_free(student), student.sample_rate, student, student.config.window, exact=True)
    if kind in (PATCHES, FRAMES):
        loaded = load_pretrained(model, device)
        return _patches(loaded) if isinstance(loaded, PatchEncoder) else _frames(loaded)
    codec = load_model(model.removeprefix(CODEC), device)
    encoder = FrameEncoder(FrameEncoderConfig(codec.config))
    encoder.encoder = codec.encoder
    return _frames(encoder)


def _free(module: Student | PatchEncoder | FrameEncoder) -> nn.Module:
    return module.requires_grad_(True)


def _patches(encoder: PatchEncoder) -> Trainable:
    patch = encoder.config.patch

    def vectors(wav: Tensor) -> Tensor:
        mel = encoder.front(wav)
        tokens = encoder.tokens(F.pad(mel, (0, -mel.shape[2] % patch)))
        columns = encoder(tokens)[:, 1:].unflatten(1, (encoder.config.grid[0], -1))
        return columns.mean(dim=2).flatten(1)

    return Trainable(_free(encoder), encoder.sample_rate, vectors, encoder.config.window)


def _frames(encoder: FrameEncoder) -> Trainable:
    def vectors(wav: Tensor) -> Tensor:
        return encoder(F.pad(wav, (0, -wav.shape[1] % encoder.hop))).mean(dim=1)

    return Trainable(_free(encoder), encoder.sample_rate, vectors)
