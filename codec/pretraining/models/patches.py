"""The encoder of MATPAC: a vision transformer on patches of a log-mel spectrogram; audio of any length."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.audio.mel import mel_filterbank
from codec.audio.spectrum import Spectrum, squared_magnitude
from codec.errors import CodecError
from codec.model.inputs import AudioInput, read_inputs
from codec.pretraining.models.config import LogMelConfig, PatchEncoderConfig
from codec.pretraining.models.transformer import Transformer, sine_positions

_FLOOR = torch.finfo(torch.float32).eps
"""Added to mel powers before the logarithm."""


class LogMel(nn.Module):
    """Standardised logarithms of mel powers (Slaney's bands of equal area), without weights, in float32."""

    filters: Tensor

    def __init__(self, config: LogMelConfig):
        super().__init__()
        self.config = config
        self.spectrum = Spectrum(config.n_fft, config.hop_length, center=False)
        filters = mel_filterbank(config.sample_rate, config.n_fft, config.num_mels, config.fmin, config.fmax)
        self.register_buffer("filters", filters.t().contiguous(), persistent=False)

    @torch.no_grad()
    def forward(self, wav: Tensor) -> Tensor:
        """``wav (B, T)`` to ``(B, num_mels, 1 + (T - n_fft) // hop)``; less than a window is filled up with zeros."""
        wav = F.pad(wav, (0, max(0, self.config.n_fft - wav.shape[1])))
        with torch.autocast(wav.device.type, enabled=False):
            power = squared_magnitude(self.spectrum(wav)) @ self.filters
            return (((power + _FLOOR).log() - self.config.mean) / self.config.deviation).transpose(1, 2)


class PatchEncoder(nn.Module):
    """Patches to vectors.

    Attributes:
        config: what it is.
        dim: size of a frame, the vectors of all patches of one column.
        sample_rate: Hz of the audio that it hears.
        rate: frames per second.
        offset: seconds of the first frame's centre.
    """

    positions: Tensor

    def __init__(self, config: PatchEncoderConfig):
        super().__init__()
        self.config, front, width = config, config.front, config.shape.dim
        self.dim = config.grid[0] * width
        self.sample_rate = front.sample_rate
        self.rate = front.sample_rate / front.hop_length / config.patch
        self.offset = front.samples(config.patch) / 2 / front.sample_rate
        self.front = LogMel(front)
        self.patch = nn.Conv2d(1, width, config.patch, config.patch)
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, width))
        # In the file, since those of published weights may have been laid out in another order.
        self.register_buffer("positions", sine_positions(config.grid, width))
        self.transformer = Transformer(config.shape)
        nn.init.xavier_uniform_(self.patch.weight.data.flatten(1))
        if self.patch.bias is not None:
            nn.init.zeros_(self.patch.bias)

    def tokens(self, mel: Tensor) -> Tensor:
        """``mel (B, num_mels, frames)``, a multiple of the patch, to ``(B, rows * columns, width)`` with positions.

        Lower bands come first; a shorter piece has the first positions of every row.
        """
        x = self.patch(mel.unsqueeze(1))
        positions = self.positions.unflatten(0, self.config.grid)[:, : x.shape[3]]
        return x.flatten(2).transpose(1, 2) + positions.flatten(0, 1)

    def forward(self, tokens: Tensor, depth: int | None = None) -> Tensor:
        """Any tokens ``(B, N, width)`` to ``(B, 1 + N, width)``, the summary token first; see :class:`Transformer`."""
        summary = self.cls.expand(len(tokens), -1, -1)
        return self.transformer(torch.cat([summary.to(tokens.dtype), tokens], dim=1), depth)

    @torch.no_grad()
    def frames(self, wavs: list[Tensor], depth: int | None = None, batch_size: int = 16) -> list[Tensor]:
        """Frames of clips of any length, ``(n_i,)`` samples to ``(T_i, dim)`` float32 on the CPU.

        The end is filled up to a whole patch with the spectrogram's mean level. A clip of more than
        ``config.frames`` frames is heard in pieces, of which the last may be shorter (MATPAC's "precise" mode).

        Args:
            depth: the output of so many blocks; the last, normalised, by default.
            batch_size: pieces of one length that are computed at once.
        """
        pieces = [self._pieces(wav) for wav in wavs]
        flat = [piece for clip in pieces for piece in clip]
        done: list[Tensor] = [torch.empty(0)] * len(flat)
        for length in sorted({piece.shape[1] for piece in flat}):
            same = [i for i, piece in enumerate(flat) if piece.shape[1] == length]
            for start in range(0, len(same), batch_size):
                chosen = same[start : start + batch_size]
                found = self._columns(torch.stack([flat[i] for i in chosen]), depth)
                for index, frames in zip(chosen, found, strict=True):
                    done[index] = frames
        ordered = iter(done)
        return [torch.cat([next(ordered) for _ in clip]) for clip in pieces]

    @torch.no_grad()
    def embed(
        self, audio: AudioInput, sample_rate: int | None = None, lengths: Any = None, depth: int | None = None
    ) -> Tensor:
        """One vector for each clip, the mean of its frames: ``(B, dim)`` float32 on the CPU.

        Args:
            audio: ``(T,)`` or ``(B, T)`` samples, a recording, a file or its bytes, or a list of such.
            sample_rate: Hz of samples; the encoder's by default.
            lengths: ``(B,)`` samples of each clip, or a mask; all by default.
            depth: see :meth:`frames`.

        Raises:
            CodecError: for audio that cannot be meant; see :func:`codec.model.inputs.read_inputs`.
        """
        if depth is not None and not 1 <= depth <= self.config.shape.depth:
            raise CodecError(f"depth {depth}: the encoder has blocks 1 to {self.config.shape.depth}")
        clips = read_inputs(audio, sample_rate, lengths, self.sample_rate)
        wavs = [wav[:count] for wav, count in zip(clips.wav, clips.counts, strict=True)]
        return torch.stack([frames.mean(dim=0) for frames in self.frames(wavs, depth)])

    def _pieces(self, wav: Tensor) -> tuple[Tensor, ...]:
        """Spectrograms ``(num_mels, frames)`` of at most ``config.frames`` frames."""
        mel = self.front(wav.to(self.cls.device)[None])[0]
        return F.pad(mel, (0, -mel.shape[1] % self.config.patch)).split(self.config.frames, dim=1)

    def _columns(self, mel: Tensor, depth: int | None) -> Tensor:
        """Pieces ``(B, num_mels, frames)`` to ``(B, columns, dim)``."""
        tokens = self.tokens(mel)
        found = self(tokens, depth)[:, 1:].unflatten(1, (self.config.grid[0], -1))
        return found.transpose(1, 2).flatten(2).float().cpu()
