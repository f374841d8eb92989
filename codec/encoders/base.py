"""What every encoder of audio is: a function with a declaration that its results are held to."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from codec.errors import CodecError

Level = Literal["frame", "clip"]

SLACK = 2
"""Frames that a clip's count may differ from its length times the rate: windows lose some at the ends."""
_PROBE_SECONDS = (2.0, 3.3)


@dataclass(frozen=True)
class EncoderConfig:
    """Options of an encoder of audio; what its model already says need not be declared."""

    model: str = ""
    """Folder or hub id of a transformers audio model, folder of musicnn, basic_pitch, a file.onnx, or
    package.module:function, which maps samples (T,) to an embedding (frames, D) or (D,). Also a folder that codec
    train or codec distill wrote, codec:NAME for a shipped codec, a released MATPAC (.pt, .safetensors), or log_mel,
    a spectrogram's bands."""
    layer: str | int | list[int] = "avg"
    """Transformers: avg (all hidden states) | last | N | [list] (their mean); 0 is the embedding's output."""
    output: str | None = None
    """musicnn: mid | penultimate | tags; basic_pitch: contour | note | onset; ONNX: an output's name; a codec:
    latent | quantized; log_mel: statistics | frames."""
    level: Level | None = None
    """clip: one vector for a clip, the mean of an encoder's frames; by default what the model gives."""
    sample_rate: int | None = None
    """Hz of the audio; to be declared for ONNX files and functions."""
    rate: float | None = None
    """Frames per second; to be declared for ONNX files and functions that give frames."""
    offset: float | None = None
    """Seconds of frame 0's centre; half a frame by default for ONNX files and functions."""
    dim: int | None = None
    """Size of an embedding; to be declared for functions."""
    max_seconds: float = 30.0
    """Longer audio is encoded in pieces."""
    tail_seconds: float | None = None
    """Whisper: silence after a clip; null pads to 30 s as in Whisper's training, 2 is much faster."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    remote_code: bool = False
    """Run the Python code that comes with a transformers model; only of authors whom you trust."""

    @property
    def first_centre(self) -> float:
        """Seconds of frame 0's centre, as declared or half a frame; 0 where no rate is declared."""
        if self.rate is None:
            return 0.0
        return 0.5 / self.rate if self.offset is None else self.offset


@dataclass(frozen=True)
class Encoder:
    """A frozen model of audio.

    Attributes:
        name: the model without a machine's own path.
        layer: which of its outputs.
        sample_rate: Hz of the audio.
        rate: frames per second; ``None``: one vector for a clip.
        offset: seconds of frame 0's centre.
        dim: size of a frame or vector.
        run: from waveforms ``(n_i,)`` to ``(T_i, D)`` float32, one row for a clip's vector.
    """

    name: str
    layer: str
    sample_rate: int
    rate: float | None
    offset: float
    dim: int
    run: Callable[[list[Tensor]], list[Tensor]]

    @property
    def level(self) -> Level:
        return "clip" if self.rate is None else "frame"

    def encode(self, wavs: list[Tensor]) -> list[Tensor]:
        """``(T_i, D)`` float32 for each ``(n_i,)`` waveform at :attr:`sample_rate`; ``(1, D)`` of level clip.

        Raises:
            CodecError: when the model raises, or what it gives differs from its declaration or is not finite.
        """
        try:
            outputs = self.run(wavs)
        except CodecError as error:
            prefix = "" if str(error).startswith(self.name) else f"{self.name}: "
            raise CodecError(f"{prefix}{error}") from None
        except Exception as error:
            # It may be anything: a function of the user's, or a runtime's own.
            reason = " ".join(str(error).split())[:200]
            raise CodecError(f"{self.name}: it raised {type(error).__name__} ({reason})") from error
        for wav, output in zip(wavs, outputs, strict=True):
            self._check(output, len(wav) / self.sample_rate)
        return outputs

    def _check(self, output: Tensor, seconds: float) -> None:
        if output.ndim != 2 or output.shape[1] != self.dim:
            raise CodecError(
                f"{self.name}: gave {tuple(output.shape)}, declared are embeddings of size {self.dim}; set dim"
            )
        expected = 1 if self.rate is None else seconds * self.rate
        slack = 0 if self.rate is None else SLACK
        if abs(len(output) - expected) > slack:
            raise CodecError(
                f"{self.name}: gave {len(output)} frames for {seconds:.2f} s, declared is "
                f"{'one vector for a clip' if self.rate is None else f'{self.rate:g} a second'}; set rate"
            )
        if not bool(output.isfinite().all()):
            raise CodecError(f"{self.name}: gave NaN or infinite features for {seconds:.2f} s of audio")

    def pooled(self) -> "Encoder":
        """One vector for a clip: the mean of its frames."""
        if self.rate is None:
            return self
        return dataclasses.replace(
            self,
            rate=None,
            offset=0.0,
            run=lambda wavs: [frames.mean(dim=0, keepdim=True) for frames in self.encode(wavs)],
        )

    def check(self) -> None:
        """Encode two noises of different lengths, twice.

        Raises:
            CodecError: as :meth:`encode`, or when the same audio gives another length or other values.
        """
        generator = torch.Generator().manual_seed(0)
        noises = [
            0.1 * torch.randn(round(seconds * self.sample_rate), generator=generator)
            for seconds in _PROBE_SECONDS
        ]
        first, second = self.encode(noises), self.encode(noises)
        for before, after in zip(first, second, strict=True):
            if before.shape != after.shape:
                raise CodecError(
                    f"{self.name}: gave {len(before)} frames, then {len(after)} for the same audio"
                )
            if not torch.allclose(before, after, rtol=1e-3, atol=1e-3 * float(before.abs().max())):
                raise CodecError(
                    f"{self.name}: gave two embeddings for the same audio; turn dropout and random crops off"
                )
