"""Generator losses by type. A loss's name is the weight's key in YAML and the tag in the log."""

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import nn

from codec.config import from_dict
from codec.registry import Registry
from codec.train.losses.context import LossContext

_LOSSES: Registry[type[Any]] = Registry("loss")


def loss(name: str) -> Callable[[type[Any]], type[Any]]:
    """Class decorator: register a loss.

    The class has a nested ``Config`` dataclass, is built as ``cls(config, context)`` with a
    :class:`LossContext` that has its name, and maps a :class:`codec.train.types.LossInput` to a scalar.
    """

    return _LOSSES.register(name)


def typed_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """A loss's options with its ``type``: its name, unless they have another.

    A name ``distill_NAME`` that is not a type itself distils the teacher NAME.
    """
    prefix, _, teacher = name.partition("distill_")
    if "type" in options or name in _LOSSES or prefix or not teacher:
        return {"type": name, **options}
    return {"type": "distill", "teacher": teacher, **options}


def build_loss(name: str, options: dict[str, Any], context: LossContext) -> nn.Module:
    """Build a registered loss from plain options.

    Args:
        name: the loss's own name, by which it is weighted and logged.
        options: of the loss; ``type`` is what it is registered as, its name by default, so that there can be
            several of one type.

    Raises:
        CodecError: for a type that is not registered, or an unknown option.
    """
    values = typed_options(name, options)
    loss_class = _LOSSES.find(values.pop("type"), f"losses.{name}")
    config = from_dict(loss_class.Config, values, f"losses.{name}")
    return loss_class(config, dataclasses.replace(context, name=name))
