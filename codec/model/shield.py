"""Public methods compute the same whatever PyTorch is set to around them, and give plain tensors."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from codec.tokens.tokens import Tokens

P = ParamSpec("P")
T = TypeVar("T")

# PyTorch 2.4 has no autocast on mps.
_DEVICES = tuple(filter(torch.amp.autocast_mode.is_autocast_available, ("cpu", "cuda", "mps")))


def shielded(method: Callable[P, T]) -> Callable[P, T]:
    """Decorator: as :func:`plain_torch`, computing in inference mode and handing out tensors that are not of it.

    Inference mode is quicker by some per cent for single frames; its tensors cannot be used in training.
    """

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        if not _is_plain():
            with plain_torch():
                return wrapper(*args, **kwargs)
        if torch.is_inference_mode_enabled():
            result = method(*args, **kwargs)
            # A copy made outside is not of inference mode.
            with torch.inference_mode(False):
                return _plain(result)
        with torch.inference_mode():
            result = method(*args, **kwargs)
        return _plain(result)

    return wrapper


def _is_plain() -> bool:
    """Whether nothing is set that would change results; gradients do not matter to inference mode."""
    # An empty tensor knows both defaults, in a quarter of the time that asking for the device takes.
    default = torch.empty(0)
    return (
        default.dtype is torch.float32
        and default.device.type == "cpu"
        and not any(map(torch.is_autocast_enabled, _DEVICES))
    )


def default_device() -> torch.device:
    """Where new tensors are made; PyTorch 2.4 does not say so within ``with torch.device(...)``."""
    return torch.empty(0).device


@contextmanager
def plain_torch() -> Iterator[None]:
    """No gradients, autocast, default dtype or default device of whoever calls: codes would depend on them."""
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for device in _DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if dtype is not torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        yield


def _plain(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.clone() if result.is_inference() else result
    if isinstance(result, Tokens):
        return result.map(_plain)
    return result
