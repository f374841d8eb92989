"""Fine-tuning as a probe: the encoder learns together with the linear layer, on the questions of the linear probe."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.audio.io import load_audio
from codec.config import to_dict
from codec.encoders.trainable import Trainable, open_trainable
from codec.errors import CodecError
from codec.eval.probes.answers import finding
from codec.eval.probes.encoder_frames import EncoderFrames, all_shown
from codec.eval.probes.linear import readable
from codec.eval.probes.questions import Question, questions
from codec.eval.probes.registry import probe
from codec.eval.probes.statistics import few_speakers_note
from codec.eval.probes.types import ProbeResult, ProbeTask
from codec.students.front import cut

_HEAD_STEPS = 200
"""Of the linear layer alone, which cost next to nothing."""


@probe("finetune")
class FinetuneProbe:
    """What an encoder is worth as a start: trained with a linear layer on the folds of the linear probe.

    The layer learns alone first, on the frozen encoder's standardised vectors, then both learn (Kumar et al. 2022,
    arXiv 2202.10054). A clip's scores are the mean over windows that cover it. Only encoders of this project can be
    trained; others are left out, with a note.
    """

    of_encoders = True

    @dataclass(frozen=True)
    class Config:
        folds: int = 5
        steps: int = 60
        """Of the encoder, for each fold."""
        batch_size: int = 16
        seconds: float = 3.0
        """Window that is heard at once, where the encoder does not have one of its own."""
        lr: float = 2e-4
        """Learning rate of the encoder; the layer's is ten times as high."""
        weight_decay: float = 0.05

        def __post_init__(self) -> None:
            if min(self.folds - 1, self.steps, self.batch_size) < 1 or min(self.seconds, self.lr) <= 0:
                raise CodecError(
                    "config probes.finetune: folds must be at least 2, steps and batch_size 1, seconds and lr above 0"
                )

    def __init__(self, config: "FinetuneProbe.Config"):
        self.config = config

    def check(self, task: ProbeTask) -> None:
        if not questions(task.clips, self.config.folds, task.seed):
            raise CodecError(
                f"the finetune probe needs two or more of `speaker` or `label` with {self.config.folds} clips each, "
                "single notes or tags"
            )

    def run(self, task: ProbeTask) -> ProbeResult:
        result = ProbeResult("finetune", settings=to_dict(self.config))
        if not isinstance(task.tokens, EncoderFrames):
            result.notes.append("nothing measured: name the codec's encoder with --encoder")
            return result
        try:
            start = open_trainable(task.tokens.model)
        except CodecError as error:
            result.notes.append(f"nothing measured: {error}")
            return result
        view = next(all_shown(task.tokens)).view
        for question in questions(readable(task, result.skipped), self.config.folds, task.seed):
            result.notes += [f"{question.name}: {note}" for note in few_speakers_note(question.units)]
            wavs = [load_audio(clip.audio, start.sample_rate).wav for clip in question.clips]
            scores = np.zeros(question.truth.shape)
            for number, fold in enumerate(question.folds):
                network = _Network(open_trainable(task.tokens.model), question, wavs, self.config)
                network.learn(fold.train, np.random.default_rng([task.seed, number]))
                scores[fold.test] = [network.scores(clip) for clip in fold.test]
            result.measures.append(finding("finetune", question, view, scores, task.seed))
        return result


class _Network:
    """An encoder and a linear layer, for one fold."""

    def __init__(self, start: Trainable, question: Question, wavs: list[Tensor], config: FinetuneProbe.Config):
        """
        Args:
            wavs: of all the question's clips, ``(n_i,)``.
        """
        self.start, self.config, self.wavs, self.several = start, config, wavs, question.several
        self.truth = torch.from_numpy(question.truth)
        longest = max(len(wav) for wav in wavs)
        self.window = start.window_of(min(round(config.seconds * start.sample_rate), longest))

    def learn(self, clips: np.ndarray, rng: np.random.Generator) -> None:
        """Learn from clips, given as indices: the layer, then both."""
        with torch.no_grad():
            frozen = torch.stack([self._windows(clip).mean(dim=0) for clip in clips])
        # Kept: the layer goes on to see what the frozen encoder's vectors were standardised to.
        self.mean, self.scale = frozen.mean(dim=0), frozen.std(dim=0).clamp(min=1e-6)
        self.layer = nn.Linear(frozen.shape[1], self.truth.shape[1])
        for parameter in self.layer.parameters():
            nn.init.zeros_(parameter)
        head = torch.optim.AdamW(self.layer.parameters(), 1e-2, weight_decay=self.config.weight_decay)
        for _ in range(_HEAD_STEPS):
            self._descend(head, frozen, clips)
        groups: list[dict[str, Any]] = [
            {"params": list(self.start.module.parameters())},
            {"params": list(self.layer.parameters()), "lr": 10 * self.config.lr},
        ]
        both = torch.optim.AdamW(groups, self.config.lr, weight_decay=self.config.weight_decay)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(both, self.config.steps)
        self.start.module.train()
        for _ in range(self.config.steps):
            chosen = rng.choice(clips, min(self.config.batch_size, len(clips)), replace=False)
            crops = [_crop(self.wavs[clip], self.window, rng) for clip in chosen]
            self._descend(both, self.start.vectors(torch.stack(crops)), chosen)
            rates.step()
        self.start.module.eval()

    @torch.no_grad()
    def scores(self, clip: int) -> np.ndarray:
        """``(C,)`` of one clip."""
        return self._read(self._windows(clip)).mean(dim=0).numpy()

    def _windows(self, clip: int) -> Tensor:
        return self.start.vectors(cut(self.wavs[clip], self.window))

    def _read(self, vectors: Tensor) -> Tensor:
        return self.layer((vectors - self.mean) / self.scale)

    def _descend(self, optimizer: torch.optim.Optimizer, vectors: Tensor, clips: np.ndarray) -> None:
        logits, truth = self._read(vectors), self.truth[clips].float()
        lose = F.binary_cross_entropy_with_logits if self.several else F.cross_entropy
        optimizer.zero_grad()
        lose(logits, truth).backward()
        optimizer.step()


def _crop(wav: Tensor, window: int, rng: np.random.Generator) -> Tensor:
    """A window anywhere in a clip; a shorter clip is repeated."""
    if len(wav) <= window:
        return cut(wav, window)[0]
    first = int(rng.integers(len(wav) - window + 1))
    return wav[first : first + window]
