"""A student: recordings in, one vector for each out."""

from typing import Any

import torch
from torch import Tensor, nn

from codec.model.inputs import AudioInput, read_inputs
from codec.students.config import StudentConfig
from codec.students.front import LogMel, cut
from codec.students.trunks import TRUNKS


class Student(nn.Module):
    """A small encoder of audio.

    Attributes:
        config: what it is.
        dim: D, the length of its vectors.
        sample_rate: Hz of the audio that it hears.
    """

    def __init__(self, config: StudentConfig):
        """
        Raises:
            CodecError: for an architecture that nobody registered.
        """
        super().__init__()
        self.config, self.sample_rate = config, config.front.sample_rate
        self.front = LogMel(config.front)
        cls: Any = TRUNKS.find(config.architecture, "config student.architecture")
        self.trunk = cls(config.size, config.front.num_mels)
        self.dim: int = self.trunk.dim

    def forward(self, wav: Tensor) -> Tensor:
        """Windows ``(B, config.window)`` at the student's rate to ``(B, D)``."""
        return self.trunk(self.front(wav))

    @torch.no_grad()
    def embed(
        self, sound: AudioInput, sample_rate: int | None = None, lengths: Any = None, batch_size: int = 16
    ) -> Tensor:
        """One vector for each clip: the mean over the windows that cover it.

        Args:
            sound: ``(T,)`` or ``(B, T)`` samples, a recording, a file or its bytes, or a list of such.
            sample_rate: Hz of samples; the student's by default.
            lengths: ``(B,)`` samples of each clip, or a mask; all by default.
            batch_size: windows that are computed at once. No vector depends on it but for rounding.

        Returns:
            ``(B, D)`` float32 on the CPU.

        Raises:
            CodecError: for sound that cannot be meant; see :func:`codec.model.inputs.read_inputs`.
        """
        clips = read_inputs(sound, sample_rate, lengths, self.sample_rate)
        pieces = [cut(wav[:count], self.config.window) for wav, count in zip(clips.wav, clips.counts, strict=True)]
        device = next(self.parameters()).device
        vectors = torch.cat([self(part.to(device)).cpu() for part in torch.cat(pieces).split(batch_size)])
        return torch.stack([part.mean(dim=0) for part in vectors.split([len(piece) for piece in pieces])])

    @property
    def num_parameters(self) -> int:
        """Weights of the student; its front has none."""
        return sum(parameter.numel() for parameter in self.parameters())
