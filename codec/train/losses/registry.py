"""Generator losses by type. A loss's name is the weight's key in YAML and the tag in the log."""

from typing import Any

from torch import nn

from codec.config import from_dict
from codec.registry import Registry

_LOSSES: Registry[type[nn.Module]] = Registry("loss")


def loss(name: str):
    """Class decorator: register a loss.

    The class has a nested ``Config`` dataclass, is built as ``cls(config, context)`` with a
    :class:`LossContext`, and maps a :class:`codec.train.types.LossInput` to a scalar.
    """

    def register(loss_class: type[nn.Module]) -> type[nn.Module]:
        loss_class.name = name
        return _LOSSES.register(name)(loss_class)

    return register


def build_loss(name: str, options: dict[str, Any], context: Any) -> nn.Module:
    """Build a registered loss from plain options.

    Args:
        name: the loss's own name, by which it is weighted and logged.
        options: of the loss; ``type`` is what it is registered as, its name by default, so that there can be
            several of one type.

    Raises:
        CodecError: for a type that nobody registered, or an unknown option.
    """
    values = dict(options)
    loss_class = _LOSSES.find(values.pop("type", name), f"losses.{name}")
    return loss_class(from_dict(loss_class.Config, values, f"losses.{name}"), context)
