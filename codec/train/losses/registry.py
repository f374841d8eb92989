"""Generator losses by name. The name is also the weight's key in YAML and the tag in the log."""

from typing import Any

from torch import nn

from codec.config import from_dict
from codec.errors import CodecError

_LOSSES: dict[str, type[nn.Module]] = {}


def loss(name: str):
    """Class decorator: register a loss.

    The class has a nested ``Config`` dataclass, is built as ``cls(config, context)`` with a
    :class:`LossContext`, and maps a :class:`codec.train.types.LossInput` to a scalar.
    """

    def register(loss_class: type[nn.Module]) -> type[nn.Module]:
        loss_class.name = name
        _LOSSES[name] = loss_class
        return loss_class

    return register


def build_loss(name: str, options: dict[str, Any], context: Any) -> nn.Module:
    """Build a registered loss from plain options.

    Raises:
        CodecError: for a name that nobody registered, or an unknown option.
    """
    if name not in _LOSSES:
        raise CodecError(f"unknown loss {name!r}; known: {', '.join(sorted(_LOSSES))}")
    loss_class = _LOSSES[name]
    return loss_class(from_dict(loss_class.Config, options, f"losses.{name}"), context)
