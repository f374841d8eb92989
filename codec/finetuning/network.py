"""A speech encoder of transformers with a head for CTC, clip by clip."""

import fnmatch
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from codec.asr.head import CtcClips, CtcHead, ctc_of_clips
from codec.errors import CodecError


class SpokenEncoder(nn.Module):
    """The last hidden states of an encoder, and a head that reads them.

    Each clip is encoded by itself: some models normalise over time, so that padding changes every
    frame. Random masks of spectra are off, since they come from numpy's global state, which a resumed run
    would not have; dropout and layers that are dropped stay as the model's config has them.

    Attributes:
        model: the encoder.
        head: the recogniser.
    """

    def __init__(self, model: Any, head: CtcHead, normalize: bool):
        """
        Args:
            model: trained in place.
            head: of its hidden size.
            normalize: whether the model expects clips of mean 0 and variance 1.
        """
        super().__init__()
        self.model, self.head, self.normalize = model, head, normalize
        self._masks = bool(getattr(model.config, "apply_spec_augment", False))
        model.config.apply_spec_augment = False

    def forward(self, wavs: list[Tensor], labels: list[list[int]], head_only: bool) -> CtcClips:
        """CTC of clips ``(n_i,)`` with their labels; ``head_only`` leaves the encoder as it is."""
        # Without its dropout, a still encoder gives the head what it will give users.
        self.model.train(self.training and not head_only)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not head_only):
            frames = [self._frames(wav) for wav in wavs]
        lengths = torch.tensor([len(clip) for clip in frames])
        scores = self.head(pad_sequence(frames, batch_first=True), lengths)
        return ctc_of_clips(scores, lengths * self.head.repeat, list(labels), [True] * len(wavs))

    def num_frames(self, samples: int) -> int:
        """Frames of a clip; 0 where it is too short for one."""
        config = self.model.config
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            samples = max(0, (samples - kernel) // stride + 1)
        return samples

    def freeze(self, patterns: Sequence[str]) -> None:
        """Keep the encoder's weights that fit a pattern.

        Raises:
            CodecError: for a pattern that no weight fits.
        """
        named = dict(self.model.named_parameters())
        for pattern in patterns:
            found = fnmatch.filter(named, pattern)
            if not found:
                raise CodecError(f"config freeze_weights: no weight fits {pattern!r}; a name is {next(iter(named))}")
            for name in found:
                named[name].requires_grad_(False)
        front = self.model.feature_extractor
        if not any(parameter.requires_grad for parameter in front.parameters()):
            # It would ask for a gradient of the samples otherwise.
            front._freeze_parameters()

    def released(self) -> Any:
        """The encoder, its config as it was."""
        self.model.config.apply_spec_augment = self._masks
        return self.model

    def resume(self) -> None:
        """Training goes on after :meth:`released`."""
        self.model.config.apply_spec_augment = False

    def _frames(self, wav: Tensor) -> Tensor:
        if self.normalize:
            wav = (wav - wav.mean()) / (wav.var(correction=0) + 1e-7).sqrt()
        hidden: Tensor = self.model(wav.unsqueeze(0)).last_hidden_state
        return hidden[0].float()
