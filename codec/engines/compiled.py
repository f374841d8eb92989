"""The step functions through ``torch.compile``."""

import torch
from torch import Tensor

from codec.engines.base import Computation
from codec.engines.torch import TorchEngine
from codec.errors import CodecError
from codec.model.network import Network
from codec.model.states import State
from codec.model.steps import StepFunction

_OLDEST = (2, 6)
"""2.4 fails at a step that has a state."""


class CompiledEngine:
    """Steps of a single frame, as of live streams, are compiled at their first use.

    Longer ones gain nothing, and every length would be compiled again; they stay with PyTorch.
    """

    name = "compile"

    def __init__(self, model: Network):
        """
        Raises:
            CodecError: with a PyTorch whose compiler fails at the networks.
        """
        version = tuple(int(part) for part in torch.__version__.split(".")[:2])
        if version < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise CodecError(
                f"the engine compile needs PyTorch {oldest} or newer, this is {torch.__version__}; use torch"
            )
        self._torch = TorchEngine(model)
        self._hop = model.hop_length

    def encoding(self, num_codebooks: int) -> Computation:
        return _compiled(self._torch.encoding(num_codebooks), self._hop)

    def decoding(self) -> Computation:
        return _compiled(self._torch.decoding(), 1)


def _compiled(computation: Computation, unit: int) -> Computation:
    """``unit`` is the input length of a frame."""
    plain: StepFunction = computation.function
    fast = torch.compile(plain)

    def function(x: Tensor, state: State = None) -> tuple[Tensor, State]:
        # The first step of a stream has no state, which would be one more thing to compile.
        if x.shape[-1] != unit or state is None:
            return plain(x, state)
        try:
            return fast(x, state)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            reason = " ".join(str(error.inner_exception).split())[:160]
            raise CodecError(f"the engine compile needs a C++ compiler ({reason}); use torch") from None

    return Computation(function, computation.min_rows)
