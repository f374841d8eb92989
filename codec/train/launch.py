"""Command line of the training recipes."""

import signal

from codec.train.config import TrainConfig
from codec.train.recipe import run_recipe
from codec.train.trainer import Trainer


def main(description: str, arguments: list[str] | None = None) -> int:
    """Train as the command line says.

    Returns:
        Exit status: 0 at the end and after Ctrl-C (saved), 143 after SIGTERM (saved), 1 on error.
    """
    return run_recipe(TrainConfig, _train, description, arguments=arguments)


def _train(config: TrainConfig) -> int:
    result = Trainer(config).run()
    return 128 + signal.SIGTERM if result.signal == signal.SIGTERM else 0
