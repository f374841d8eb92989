"""PyTorch: the measure of all engines."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from codec.engines.base import Computation, Engine
from codec.errors import CodecError
from codec.model.blocked import BlockedSteps
from codec.model.network import Network
from codec.model.stamp import Stamp, stamp_of
from codec.model.states import State
from codec.model.steps import StepFunction, Steps


class TorchEngine:
    """Copies of the modules, whose weights lie in memory as is best for inference.

    A copy is made when it is first needed, and again when the weights have changed. It is in eval mode
    whatever the network is in.
    """

    name = "torch"

    def __init__(self, network: Network):
        self.network = network
        self._copies: dict[str, tuple[Stamp, nn.Module]] = {}
        # The last function of each direction, with what it was made of.
        self._functions: dict[Callable[..., StepFunction], tuple[tuple[Any, ...], StepFunction]] = {}

    def encoding(self, num_codebooks: int) -> Computation:
        encoder, quantizer = self._copy("encoder"), self._copy("quantizer")
        return Computation(self._function(encode_function, encoder, quantizer, num_codebooks), encoder.min_rows)

    def decoding(self) -> Computation:
        decoder, quantizer = self._copy("decoder"), self._copy("quantizer")
        return Computation(self._function(decode_function, decoder, quantizer), decoder.min_rows)

    def _function(self, make: Callable[..., StepFunction], *parts: Any) -> StepFunction:
        """``make(*parts)``, which prepares tables: for a second of sound that would be some per cent of the work."""
        known = self._functions.get(make)
        if known is None or any(old is not new for old, new in zip(known[0], parts, strict=True)):
            with torch.inference_mode(False), torch.no_grad():
                known = parts, make(*parts)
            self._functions[make] = known
        return known[1]

    def _copy(self, name: str) -> Any:
        module = self.network.get_submodule(name)
        stamp = stamp_of(module)
        if name not in self._copies or self._copies[name][0] != stamp:
            self._copies[name] = stamp, _for_inference(module)
        return self._copies[name][1]

    def __getstate__(self) -> dict[str, Any]:
        """Copies are made again where the engine is copied or sent to."""
        return {"network": self.network, "_copies": {}, "_functions": {}}


def encode_function(encoder: Any, quantizer: Any, num_codebooks: int) -> StepFunction:
    """``(wav (B, n * hop), state)`` to ``(codes (B, K, n), state)`` by these modules."""
    quantize = quantizer.prepare_encode(num_codebooks)

    def function(wav: Tensor, state: State = None) -> tuple[Tensor, State]:
        latent, state = encoder(wav, state)
        return quantize(latent), state

    return function


def decode_function(decoder: Any, quantizer: Any) -> StepFunction:
    """``(codes (B, K, n), state)`` to ``(wav (B, n * hop), state)`` by these modules."""
    dequantize = quantizer.prepare_decode()

    def function(codes: Tensor, state: State = None) -> tuple[Tensor, State]:
        return decoder(dequantize(codes), state)

    return function


def encoding(
    network: Network, engine: Engine, batch: int, num_codebooks: int | None, deterministic: bool
) -> Steps:
    """Encode ``(B, n * hop)`` samples to ``(B, K, n)`` codes with the current weights."""
    count = network.quantizer.check_count(num_codebooks)
    # That its blocks are equal to the last bit is known of PyTorch only.
    chosen = torch_engine(network, engine) if deterministic else engine
    return _steps(chosen.encoding(count), batch, network.hop_length, deterministic)


def decoding(network: Network, engine: Engine, batch: int, deterministic: bool) -> Steps:
    """Decode codes ``(B, K, n)`` to ``(B, n * hop)`` samples, late by the decoder's delay."""
    chosen = torch_engine(network, engine) if deterministic else engine
    return _steps(chosen.decoding(), batch, 1, deterministic)


def torch_engine(network: Network, engine: Engine) -> Engine:
    """The engine where it is PyTorch's, else one that is."""
    return engine if isinstance(engine, TorchEngine) else TorchEngine(network)


def _steps(computation: Computation, batch: int, unit: int, deterministic: bool) -> Steps:
    kind = BlockedSteps if deterministic else computation.steps
    steps = kind(computation.function, batch, unit, computation.min_rows)
    steps.end_function = computation.end or computation.function
    return steps


def check_float32(module: nn.Module) -> None:
    """Raise a :class:`CodecError` when the module was converted to another precision."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            name = str(tensor.dtype).removeprefix("torch.")
            raise CodecError(f"the model's weights are {name}; it computes in float32: call model.float()")


@torch.no_grad()
def _for_inference(module: nn.Module) -> nn.Module:
    """A copy in which the weight of every linear layer, still ``(out, in)``, lies column by column.

    MKL multiplies a few rows with it faster so, and rounds two rows as it rounds any number; with rows of
    weights one after the other that takes 4 rows on some processors and 16 on others (docs/streaming.md).
    """
    check_float32(module)
    # Not within inference mode, whose tensors could not be used outside.
    with torch.inference_mode(False):
        copied = copy.deepcopy(module).eval().requires_grad_(False)
        for part in copied.modules():
            if isinstance(part, nn.Linear):
                part.weight.data = part.weight.data.t().contiguous().t()
    return copied
