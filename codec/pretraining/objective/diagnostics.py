"""Signs of collapse, and how well the context predicts what is hidden, measured on crops that are kept aside."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.errors import CodecError
from codec.pretraining.objective.losses import direction_distance
from codec.pretraining.objective.masked import MaskedModel
from codec.train.distributed import all_reduce_sum, world_size

_SIGNS = ("classes/used", "classes/of_a_token", "spread/target", "spread/prediction")
_MEMORY = 0.9
"""Of the running means of the signs, per step."""
_UNIFORM = 0.98
"""A teacher that spreads each token over this share of all classes has learnt none of them."""


@dataclass(frozen=True)
class CollapseConfig:
    """When a run counts as collapsed: all tokens look alike to it."""

    stop: bool = True
    """End the run; otherwise one warning is printed."""
    after: float = 0.2
    """Share of the run after which it is looked for; early on, predictions are one mean for all and have to be."""
    min_classes: float = 2.0
    """Least classes that the teacher uses, as the perplexity of their mean."""
    min_spread: float = 0.02
    """Least deviation of targets and predictions over tokens, between 0 for one direction and 1 for all."""

    def __post_init__(self) -> None:
        if not 0 <= self.after <= 1 or self.min_classes < 1 or not 0 <= self.min_spread < 1:
            raise CodecError(
                "config collapse: after must be in [0, 1], min_classes at least 1 and min_spread in [0, 1)"
            )


class CollapseWatch:
    """Running means of the signs, over steps and processes."""

    def __init__(self, config: CollapseConfig, classes: int, max_steps: int):
        """
        Args:
            classes: K of the classification; 0 without one.
        """
        self.config, self.classes = config, classes
        self._start = config.after * max_steps
        self._means = torch.full((len(_SIGNS),), float("nan"))
        self._steps = 0
        self._warned = False

    def update(self, signs: dict[str, Tensor]) -> None:
        """Take in a step's; one that is not there counts as healthy."""
        device, missing = signs["spread/target"].device, torch.full_like(signs["spread/target"], float("nan"))
        now = torch.stack([signs.get(name, missing) for name in _SIGNS])
        now = all_reduce_sum(now.detach().float()) / world_size()
        before = self._means.to(device)
        self._means = torch.where(before.isnan(), now, torch.lerp(now, before, _MEMORY))
        self._steps += 1

    def verdict(self) -> str | None:
        """What is wrong, ``None`` if nothing is or it is too early to know; waits for the device."""
        if self._steps <= self._start:
            return None
        used, of_a_token, target, prediction = self._means.tolist()
        if used < self.config.min_classes:
            return f"the teacher puts all tokens into {used:.1f} of {self.classes} classes"
        if of_a_token > _UNIFORM * self.classes > 0:
            return f"the teacher spreads every token over {of_a_token:.0f} of {self.classes} classes"
        for name, spread in (("targets", target), ("predictions", prediction)):
            if spread < self.config.min_spread:
                return f"all {name} have nearly one direction (spread {spread:.3f})"
        return None

    def check(self) -> str | None:
        """A line to be printed, once, where a collapse does not end the run.

        Raises:
            CodecError: for a collapse that does.
        """
        found = self.verdict()
        if found is None:
            return None
        text = f"step {self._steps}: the run has collapsed, {found}"
        if self.config.stop:
            raise CodecError(
                f"{text}; try classes.center_on=logits, a lower optimizer.lr or slower teacher decays, or set "
                "collapse.stop=false"
            )
        warned, self._warned = self._warned, True
        return None if warned else text

    def state_dict(self) -> dict[str, Tensor]:
        return {"means": self._means, "steps": torch.tensor(self._steps)}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        self._means, self._steps = tensors["means"], int(tensors["steps"])


@torch.no_grad()
def position_means(model: MaskedModel, wav: Tensor, order: Tensor, visible: int) -> Tensor:
    """Mean direction of the teacher's targets at each place, ``(N, width)``, over crops as they are trained on."""
    _, target = model.pair(wav, order, visible)
    means = torch.zeros(order.shape[1], model.pair.width, device=target.device)
    units = F.normalize(target.float(), dim=-1)
    return means.index_add_(0, order[:, visible:].flatten(), units.flatten(0, 1))


@torch.no_grad()
def held_out(model: MaskedModel, wav: Tensor, order: Tensor, visible: int, means: Tensor) -> dict[str, float]:
    """Mean squared distance of unit vectors to the targets, from 0 to 4, of predictions and of what they must beat.

    With several hypotheses, ``prediction`` is the nearest one's, which their number alone makes smaller;
    ``averaged`` is that of their mean, which needs no target.

    Args:
        wav, order, visible: crops and their masks, at least two.
        means: :func:`position_means` of other crops.
    """
    model.eval()
    try:
        seen, target = model.pair(wav, order, visible)
        others, _ = model.pair(wav.roll(1, dims=0), order, visible)
        predicted = model.predictor(seen, order, visible)
        foreign = model.predictor(others, order, visible)
    finally:
        model.train()
    averaged = F.normalize(predicted.float(), dim=-1).mean(dim=2)
    constant = means[order[:, visible:]]
    found = {
        "prediction": direction_distance(predicted, target.unsqueeze(2)).amin(dim=2),
        "averaged": direction_distance(averaged, target),
        "position_mean": direction_distance(constant, target),
        "other_context": direction_distance(foreign, target.unsqueeze(2)).amin(dim=2),
    }
    return {name: distances.mean().item() for name, distances in found.items()}
