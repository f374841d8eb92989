"""Masked latent prediction with classification of the targets, on any pair of student and teacher."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.pretraining.models.config import Shape
from codec.pretraining.objective.config import ClassesConfig, WeightsConfig
from codec.pretraining.objective.heads import Center, ClassHead, Predictor
from codec.pretraining.objective.losses import (
    classification,
    direction_distance,
    multiple_choice,
    perplexity,
    take_winner,
)
from codec.pretraining.objective.pairs import Pair, follow
from codec.pretraining.objective.schedules import Moment


@dataclass
class Masked:
    """What a step gives.

    Attributes:
        losses: scalars with gradient, by name, not weighted.
        total: their weighted sum.
        signs: detached scalars that distinguish a healthy run from one that collapses.
    """

    losses: dict[str, Tensor]
    total: Tensor
    signs: dict[str, Tensor]


class MaskedModel(nn.Module):
    """All that is trained, and the teachers, one module for the wrapper of several processes.

    Attributes:
        pair: the encoder, and the average that its targets come from.
        predictor: fills in what is masked.
        head, head_teacher: the classification of tokens, and its average.
    """

    def __init__(
        self, pair: Pair, predictor: Shape, hypotheses: int, classes: ClassesConfig, weights: WeightsConfig
    ):
        super().__init__()
        self.pair = pair
        self.predictor = Predictor(predictor, pair.width, pair.grid, hypotheses)
        self.weights, self.classes = weights, classes
        if weights.classification:
            self.head = ClassHead(pair.width, classes)
            # Both start from random weights of their own, as released.
            self.head_teacher = ClassHead(pair.width, classes).requires_grad_(False)
            self.center = Center(classes.count, classes.center_on, classes.center_momentum)

    def follow(self, encoder_decay: float, head_decay: float) -> None:
        """Move the teachers towards the students."""
        follow(self.pair.teacher, self.pair.followed(), encoder_decay)
        if self.weights.classification:
            follow(self.head_teacher, self.head, head_decay)

    def forward(self, wav: Tensor, order: Tensor, visible: int, moment: Moment) -> Masked:
        """Losses of crops ``wav (B, T)``, of whose tokens in ``order (B, N)`` the first ``visible`` are seen."""
        seen, target = self.pair(wav, order, visible)
        predicted = self.predictor(seen, order, visible)
        choice = multiple_choice(direction_distance(predicted, target.unsqueeze(2)), moment.assignment_temperature)
        best = take_winner(predicted, choice.winner)
        losses, signs = {}, _spreads(best, target)
        if predicted.shape[2] > 1:
            signs["hypotheses"] = perplexity(choice.shares.float().flatten(0, 1).mean(dim=0))
        if self.weights.prediction:
            losses["prediction"] = choice.loss
        else:
            signs["prediction"] = choice.loss.detach()
        if self.weights.classification:
            losses["classification"], more = self._classify(best, target, moment.teacher_temperature)
            signs |= more
        total = sum((getattr(self.weights, name) * loss for name, loss in losses.items()), torch.zeros(()))
        return Masked(losses, total, signs)

    def _classify(self, best: Tensor, target: Tensor, temperature: float) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.head(best)
        with torch.no_grad():
            wanted = self.head_teacher(target)
        classes = self.center.probabilities(wanted, temperature)
        if self.training:
            self.center.update(wanted, classes)
        loss = classification(logits, classes, self.classes.student_temperature)
        return loss, _class_signs(logits, classes, self.classes.student_temperature)


@torch.no_grad()
def _spreads(predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Deviation of unit vectors over tokens, times the root of their size: 1 for all directions, 0 for one."""
    spreads = {}
    for name, vectors in (("spread/prediction", predicted), ("spread/target", target)):
        units = nn.functional.normalize(vectors.float(), dim=-1).flatten(0, -2)
        spreads[name] = (units.var(dim=0, unbiased=False).sum()).sqrt()
    return spreads


@torch.no_grad()
def _class_signs(logits: Tensor, classes: Tensor, temperature: float) -> dict[str, Tensor]:
    """How many classes are in use, how sure the teacher is of a token's, and how often the student agrees."""
    guessed = (logits.float() / temperature).softmax(dim=-1).flatten(0, -2)
    classes = classes.flatten(0, -2)
    first = classes.argmax(dim=-1)
    # Not unique(), for whose size the host would have to wait.
    distinct = classes.new_zeros(classes.shape[1]).scatter_(0, first, 1.0).sum()
    return {
        "classes/used": perplexity(classes.mean(dim=0)),
        "classes/guessed": perplexity(guessed.mean(dim=0)),
        "classes/of_a_token": perplexity(classes).mean(),
        "classes/distinct": distinct,
        "agreement": (guessed.argmax(dim=-1) == first).float().mean(),
    }
