"""The step functions of a model as modules whose states are flat lists of tensors."""

import torch
from torch import Tensor, nn

from codec.engines.torch import decode_function, encode_function
from codec.errors import CodecError
from codec.model.network import Network
from codec.model.states import map_state, tensors_of
from codec.model.steps import StepFunction
from codec.quantizers import ABSENT

BATCH, FRAMES = 2, 3
"""Sizes of the example inputs; 1 would be taken for a constant."""


class StepModule(nn.Module):
    """A step function as ``(x, *state tensors) -> (y, *new state tensors)``.

    Its submodules have the model's names for them, and so have the weights in the graph.

    Attributes:
        example: an input ``(BATCH, ..., FRAMES * unit)``.
        unit: input length of a frame.
        state: a state of that batch; its tensors are the further inputs.
    """

    def __init__(self, model: Network, example: Tensor):
        super().__init__()
        self.example = example
        self.unit = example.shape[-1] // FRAMES
        self.quantizer = model.quantizer
        # In a list, where it is not a submodule.
        self._model = [model]
        self.state = self.function()(example)[1]
        if any(x.shape[0] != BATCH or x.dtype != torch.float32 for x in tensors_of(self.state)):
            raise CodecError("a network's states must be float32 with the batch first to be exported")

    def function(self) -> StepFunction:
        """It is built for every trace, so that what it prepares from the weights is in the graph."""
        raise NotImplementedError

    def forward(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        parts = iter(tensors)
        y, state = self.function()(x, map_state(lambda _: next(parts), self.state))
        return y, *tensors_of(state)


class EncoderModule(StepModule):
    """``wav (B, n * hop)`` to codes ``(B, K, n)``."""

    def __init__(self, model: Network):
        super().__init__(model, torch.zeros(BATCH, FRAMES * model.hop_length))
        self.encoder = model.encoder

    def function(self) -> StepFunction:
        (model,) = self._model
        return encode_function(model.encoder, model.quantizer, model.num_codebooks)


class DecoderModule(StepModule):
    """Codes ``(B, K, n)``, -1 where a layer is absent, to ``wav (B, n * hop)``."""

    def __init__(self, model: Network):
        super().__init__(model, torch.full((BATCH, model.num_codebooks, FRAMES), ABSENT))
        self.decoder = model.decoder

    def function(self) -> StepFunction:
        (model,) = self._model
        return decode_function(model.decoder, model.quantizer)
