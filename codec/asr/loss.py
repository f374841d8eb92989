"""The loss ``ctc``: the codec's encoder learns to tell the characters that are spoken."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from codec.asr.alphabet import CHARACTERS, Alphabet
from codec.asr.head import CtcHead, CtcHeadConfig, ctc_of_clips
from codec.train.distributed import all_reduce_sum, world_size
from codec.train.losses.distillation import parse_attach
from codec.train.losses.registry import LossContext, loss
from codec.train.types import LossInput


@loss("ctc")
class CtcLoss(nn.Module):
    """CTC over characters of a head on the codec's frames, as Speech-FT fine-tunes (arXiv 2502.12672).

    With ``y_b`` the text of crop b in labels and ``p`` the head's distributions, the mean over crops with a text of
    ``-log p(y_b) / |y_b|``; in training that is the mean over the batches of all processes. A text
    belongs to a whole clip, so crops of longer clips do not count, nor do texts with characters that the alphabet
    lacks or with more characters than frames; the last two are logged as ``skipped/NAME``. The head is no part of
    the codec and is saved with the run.

    Attributes:
        head: ``D`` to labels.
        facts: of the latest batch: crops that counted (``texts``) and crops with a text that did not (``skipped``).
    """

    hears_audio = False

    @dataclass(frozen=True)
    class Config:
        """Where the head listens, and what it may write."""

        attach: str = "latent"
        """latent (Speech-FT's choice), rvq1, rvq1-K (layers 1 to K) or quantized (what the decoder is given)."""
        alphabet: str = CHARACTERS
        head: CtcHeadConfig = field(default_factory=CtcHeadConfig)

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        self.attach, self.layers = config.attach, parse_attach(config.attach, context.num_codebooks, context.name)
        self.alphabet = Alphabet(config.alphabet)
        self.head = CtcHead(context.latent_dim, self.alphabet.size, config.head)
        self.facts: dict[str, Tensor] = {}

    @property
    def described(self) -> dict[str, str]:
        """Facts without which the head's weights mean nothing."""
        return {"alphabet": self.alphabet.characters, "attach": self.attach}

    def forward(self, inputs: LossInput) -> Tensor:
        texts = inputs.batch.texts or (None,) * len(inputs.batch.wav)
        frames = inputs.quantizer.at(self.attach, self.layers).float().transpose(1, 2)
        lengths = inputs.batch.mask.sum(dim=1)
        scores = self.head(frames, lengths)
        labels = [self.alphabet.labels(text) for text in texts]
        clips = ctc_of_clips(scores, lengths * self.head.repeat, labels, [bool(text) for text in texts])
        used = clips.counts.sum()
        self.facts = {"texts": used.detach().float(), "skipped": torch.tensor(float(clips.skipped), device=used.device)}
        total = used.float()
        if self.training:
            # DDP averages gradients over processes: with the mean count, that is the global mean.
            total = all_reduce_sum(total) / world_size()
        return clips.values.sum() / total.clamp(min=torch.finfo(total.dtype).tiny)
