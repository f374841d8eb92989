"""Engines: what else can compute a model's step functions than PyTorch's modules as they are."""

from codec.engines.choose import choose_engine

__all__ = ["choose_engine"]
