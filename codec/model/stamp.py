"""Notice that the tensors of a module are not what they were, without reading all of them."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

Stamp = tuple[object, ...]


def stamp_of(*modules: nn.Module) -> Stamp:
    """What differs once a parameter or buffer was replaced, moved, loaded or changed in place.

    PyTorch counts the changes of a tensor, but not those through ``tensor.data`` or NumPy, as in many a loop
    that averages weights. So each tensor's first value is looked at too.
    """
    tensors = [tensor for module in modules for tensor in _tensors(module)]
    return *((tensor.data_ptr(), _version(tensor)) for tensor in tensors), *_first_values(tensors)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """As ``parameters()`` and ``buffers()``, in a quarter of the time."""
    open_modules = [module]
    while open_modules:
        part = open_modules.pop()
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if tensor is not None and tensor.numel():
                yield tensor
        open_modules += [child for child in part._modules.values() if child is not None]


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


@torch.no_grad()
def _first_values(tensors: list[Tensor]) -> list[float]:
    firsts = [tensor[(0,) * tensor.ndim] for tensor in tensors]
    if all(first.device.type == "cpu" for first in firsts):
        return [first.item() for first in firsts]
    # One wait for the device in place of many.
    return torch.stack([first.float() for first in firsts]).tolist()
