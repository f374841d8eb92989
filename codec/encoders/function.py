"""Any Python function from samples to an embedding, named as ``package.module:function``."""

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.encoders.base import Encoder, EncoderConfig
from codec.errors import CodecError

_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_function(model: str) -> bool:
    """Whether a model's name is that of a function."""
    return _NAME.fullmatch(model) is not None and not model.startswith("package:")


def open_function(config: EncoderConfig) -> Encoder:
    """An encoder of a function that is given samples ``(n,)``, float32, on the CPU.

    It returns a tensor or array: ``(D,)`` where no rate is declared, else ``(T, D)``. Modules are looked for
    in the working directory too.

    Raises:
        CodecError: when there is no such function, or a declaration is missing.
    """
    sample_rate, dim = config.sample_rate, config.dim
    missing = [key for key in ("sample_rate", "dim") if not getattr(config, key)]
    if not sample_rate or not dim:
        raise CodecError(f"{config.model}: {', '.join(missing)} must be declared for a function")
    function = _find(config.model)

    @torch.no_grad()
    def run(wavs: list[Tensor]) -> list[Tensor]:
        results = [torch.as_tensor(function(wav.clone())).detach().float().cpu() for wav in wavs]
        return [item[None] if config.rate is None and item.ndim == 1 else item for item in results]

    return Encoder(
        name=config.model,
        layer=config.output or "output",
        sample_rate=sample_rate,
        rate=config.rate,
        offset=config.first_centre,
        dim=dim,
        run=run,
    )


def _find(name: str) -> Callable[[Tensor], Any]:
    module_name, _, path = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:
        # A module of the user's may raise anything on import.
        reason = " ".join(str(error).split())[:200]
        raise CodecError(f"{name}: cannot be imported ({type(error).__name__}: {reason})") from error
    if not callable(found):
        raise CodecError(f"{name}: is no function; name one that maps samples (n,) to an embedding")
    return found
