"""Notice that the tensors of a module are not what they were, without reading all of them."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Stamp = tuple[object, ...]

_steady = threading.local()


def stamp_of(*modules: nn.Module) -> Stamp:
    """What differs once a parameter or buffer was replaced, moved, loaded or changed in place.

    PyTorch counts the changes of a tensor, but not those through ``tensor.data`` or NumPy, as in many a loop
    that averages weights. So each tensor's first value is looked at too.
    """
    known = getattr(_steady, "stamps", None)
    if known is None:
        return tuple(map(_stamp, modules))
    for module in modules:
        if module not in known:
            known[module] = _stamp(module)
    return tuple(known[module] for module in modules)


@contextmanager
def steady_weights() -> Iterator[None]:
    """Within the block, each module of this thread is looked at once: a call's weights are those of its start."""
    before = getattr(_steady, "stamps", None)
    _steady.stamps = {} if before is None else before
    try:
        yield
    finally:
        _steady.stamps = before


def _stamp(module: nn.Module) -> Stamp:
    tensors = _tensors(module)
    places = [tensor.data_ptr() for tensor in tensors]
    versions = [-1 if tensor.is_inference() else tensor._version for tensor in tensors]
    return *places, *versions, *_first_values(tensors, places)


def _tensors(module: nn.Module) -> list[Tensor]:
    """As ``parameters()`` and ``buffers()``, in a quarter of the time."""
    found: list[Tensor] = []
    open_modules = [module]
    while open_modules:
        part = open_modules.pop()
        for tensors in (part._parameters, part._buffers):
            if tensors:
                found += [tensor for tensor in tensors.values() if tensor is not None and tensor.numel()]
        if part._modules:
            open_modules += [child for child in part._modules.values() if child is not None]
    return found


@torch.no_grad()
def _first_values(tensors: list[Tensor], places: list[int]) -> list[float]:
    if all(tensor.dtype is torch.float32 and tensor.is_cpu for tensor in tensors):
        # Five times as fast as PyTorch, which would be a fiftieth of the time of a short clip.
        return [ctypes.c_uint32.from_address(place).value for place in places]
    # One wait for the device in place of many.
    return torch.stack([tensor[(0,) * tensor.ndim].float() for tensor in tensors]).tolist()
