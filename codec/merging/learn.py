"""Lambdas by gradient: the models stay as they are, and only the coefficients of their task vectors move.

The loss is what the base's decoder makes of the merged encoder's tokens: the multi-scale log-mel distance to
the recording. A base that was trained on such recordings is near that loss's minimum already, and lambdas then
go to 0: learn on recordings of what the branches were trained for.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from codec.audio.io import load_audio
from codec.audio.mel import MelSpectrogram
from codec.errors import CodecError
from codec.eval.clips import open_clips
from codec.merging.config import LearnConfig, weight_of
from codec.merging.merge import Family, Weight
from codec.merging.vectors import State
from codec.model.codec import Codec

_SCALES = ((256, 20), (512, 40), (1024, 80), (2048, 160))
"""Window and bands of the log-mel spectra; fewer bands at shorter windows, so that none is empty."""
_FLOOR = 1e-5


@dataclass(frozen=True)
class Learned:
    """Lambdas that were learned.

    Attributes:
        weights: of each branch; by pattern where each layer has its own.
        before: loss with the lambdas at the start, over all crops.
        after: the same with those learned.
        crops: how many there were.
    """

    weights: list[Weight]
    before: float
    after: float
    crops: int

    def facts(self, config: LearnConfig) -> dict[str, Any]:
        """Plain data for ``merge.json``."""
        return {
            "loss": "log-mel distance of the base's decoder's output to the recording",
            "before": self.before,
            "after": self.after,
            "crops": self.crops,
            **{name: value for name, value in dataclasses.asdict(config).items() if name != "clips"},
            "manifests": list(config.clips.manifests),
        }


def learn(family: Family, config: LearnConfig, weights: Sequence[Weight]) -> Learned:
    """Learn lambdas on the recordings of ``config``.

    Args:
        weights: where they start.

    Raises:
        CodecError: for recordings that cannot be read, models that are no codecs, or a loss that is not finite.
    """
    model = family.codec
    crops = _read_crops(model, config)
    groups = layers_of(family.names) if config.per == "layer" else {"*": family.names}
    loss = Reconstruction(model)
    start = family.start
    vectors = [{name: source.state[name] - start[name] for name in start} for source in family.branches]
    initial = torch.tensor([[weight_of(names[0], w) for w in weights] for names in groups.values()])
    generator = torch.Generator().manual_seed(config.seed)

    def batch_loss(state: State) -> Tensor:
        drawn = torch.randint(len(crops), (config.batch_size,), generator=generator)
        return loss(state, crops[drawn])

    lambdas = fit(start, vectors, list(groups.values()), initial, batch_loss, config.steps, config.lr)

    def whole(values: Tensor) -> float:
        with torch.no_grad():
            state = mix(start, vectors, list(groups.values()), values)
            losses = [float(loss(state, crop.unsqueeze(0))) for crop in crops]
        return math.fsum(losses) / len(losses)

    learned: list[Weight]
    if config.per == "model":
        learned = lambdas[0].tolist()
    else:
        # Longer patterns first: the first that fits counts.
        order = sorted(range(len(groups)), key=lambda index: -len(list(groups)[index]))
        patterns = list(groups)
        learned = [{patterns[i]: float(lambdas[i, k]) for i in order} for k in range(lambdas.shape[1])]
    return Learned(learned, whole(initial), whole(lambdas), len(crops))


def fit(
    start: State,
    vectors: Sequence[State],
    groups: Sequence[Sequence[str]],
    initial: Tensor,
    loss: Callable[[dict[str, Tensor]], Tensor],
    steps: int,
    lr: float,
) -> Tensor:
    """Lambdas ``(G, K)`` that make ``loss`` of the merged tensors small: Adam with a rate that falls to 0.

    Args:
        start: theta0.
        vectors: K task vectors.
        groups: G groups of tensors with lambdas of their own.
        initial: ``(G, K)``.
        loss: scalar of a state; may draw a batch.

    Raises:
        CodecError: when the loss is not finite.
    """
    lambdas = nn.Parameter(initial.clone())
    optimizer = torch.optim.Adam([lambdas], lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        value = loss(mix(start, vectors, groups, lambdas))
        if not torch.isfinite(value):
            raise CodecError(f"learn: the loss is {value.item()} in step {step}; lower learn.lr")
        (lambdas.grad,) = torch.autograd.grad(value, [lambdas])
        optimizer.step()
        schedule.step()
    return lambdas.detach()


def mix(
    start: State, vectors: Sequence[State], groups: Sequence[Sequence[str]], lambdas: Tensor
) -> dict[str, Tensor]:
    """``theta0 + sum_k lambda_gk tau_k`` as a function of ``lambdas (G, K)``, with gradients."""
    return {
        name: start[name] + sum(factor * vector[name] for factor, vector in zip(row, vectors, strict=True))
        for names, row in zip(groups, lambdas, strict=True)
        for name in names
    }


def layers_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Names by the layer they are in, as a pattern: up to the first number, else up to the last dot."""
    groups: dict[str, list[str]] = {}
    for name in names:
        numbered = re.match(r"(.*?\.\d+)\.", name)
        groups.setdefault(f"{numbered[1] if numbered else name.rpartition('.')[0]}.*", []).append(name)
    return groups


class Reconstruction:
    """Log-mel distance between recordings and what a codec makes of them, as a function of merged tensors.

    Codes are looked up as in use; their gradient passes to the latent unchanged (straight-through).
    """

    def __init__(self, model: Codec):
        self.model = model
        self.spectra = [
            MelSpectrogram(model.sample_rate, n_fft, n_fft // 4, bands, 0.0, None, "slaney")
            for n_fft, bands in _SCALES
        ]

    def __call__(self, state: Mapping[str, Tensor], wav: Tensor) -> Tensor:
        """Loss of ``wav (B, T)``, T of whole frames, with the tensors ``state`` in place of the model's."""
        model = self.model
        ahead = model.encoder.delay
        latent, _ = functional_call(model.encoder, _below("encoder.", state), (F.pad(wav, (0, ahead)),))
        latent = latent[:, :, ahead // model.hop_length :]
        with torch.no_grad():
            chosen = model.quantizer.decode(model.quantizer.encode(latent))
        quantized = latent + (chosen - latent).detach()
        delay = model.decoder.delay
        flushed = F.pad(quantized, (0, delay // model.hop_length))
        output, _ = functional_call(model.decoder, _below("decoder.", state), (flushed,))
        fake = output[:, delay:].float()
        return torch.stack([self._distance(spectrum, wav, fake) for spectrum in self.spectra]).mean()

    @staticmethod
    def _distance(spectrum: MelSpectrogram, real: Tensor, fake: Tensor) -> Tensor:
        return F.l1_loss(spectrum(fake).clamp(min=_FLOOR).log(), spectrum(real).clamp(min=_FLOOR).log())


def _read_crops(model: Codec, config: LearnConfig) -> Tensor:
    """``(N, T)``: the recordings cut to pieces of whole frames, shorter ones padded with zeros."""
    length = max(1, round(config.seconds * model.sample_rate / model.hop_length)) * model.hop_length
    pieces = []
    for clip in open_clips(config.clips):
        wav = load_audio(clip.audio, model.sample_rate).wav
        whole = len(wav) // length * length
        pieces += (
            [wav[:whole].view(-1, length)] if whole else [F.pad(wav, (0, length - len(wav))).unsqueeze(0)]
        )
    return torch.cat(pieces)


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
