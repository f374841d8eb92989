"""Kinds of training. ``task: NAME`` of a config names one; ``codec`` is the default."""

from codec.train.tasks.base import RunConfig, Task, config_class, task

__all__ = ["RunConfig", "Task", "config_class", "task"]
