"""``codec train``, and what the recipes for accelerate run."""

import dataclasses
import signal
import sys
from collections.abc import Callable

from codec.align.registry import words_options
from codec.cli.recipe import run_recipe
from codec.console import counted, print_note
from codec.train.config import TrainConfig
from codec.train.losses.registry import typed_options
from codec.train.tasks.base import RunConfig, config_class
from codec.train.trainer import Trainer

_FLAGS = """
--resume is short for resume=true, --init-from PATH for init_from=PATH. Ctrl-C and SIGTERM save a
checkpoint and leave, with exit status 0 and 143; --resume continues from there."""


DESCRIPTION = """Train a codec from a config.

On several processes: accelerate launch -m codec train --config default
"""


def main(
    description: str = DESCRIPTION,
    without: tuple[str, ...] = (),
    arguments: list[str] | None = None,
    program: str | None = None,
) -> int:
    """Run ``codec train`` with these arguments.

    Args:
        description: of the recipe.
        without: teachers of the config that this recipe leaves out, with their distillation losses.
        arguments: the command line without the program; the process's own by default.
        program: what the command is called; the script's name by default.

    Returns:
        Exit status: 0 at the end and after Ctrl-C, 143 after SIGTERM, 1 for an error.
    """
    given = sys.argv[1:] if arguments is None else arguments
    usual: type[RunConfig] = TrainConfig
    return run_recipe(
        usual,
        _train(without),
        description + _FLAGS,
        words_options(),
        expand_flags(given),
        program,
        choose=config_class,
    )


def expand_flags(arguments: list[str]) -> list[str]:
    """``--resume`` and ``--init-from PATH`` as the overrides they stand for."""
    expanded: list[str] = []
    for argument in arguments:
        if expanded and expanded[-1] == "--init-from":
            expanded[-1] = f"init_from={argument}"
        elif argument == "--resume":
            expanded.append("resume=true")
        elif argument.startswith("--init-from="):
            expanded.append(f"init_from={argument.partition('=')[2]}")
        else:
            expanded.append(argument)
    return expanded


def _train(without: tuple[str, ...]) -> Callable[[RunConfig], int]:
    def work(config: RunConfig) -> int:
        trainer = Trainer(_leave_out(config, without) if isinstance(config, TrainConfig) else config)
        result = trainer.run()
        if trainer.accelerator.is_main_process:
            print_note(f"{result.export}: the model after {counted(result.step, 'step')}")
        return 128 + signal.SIGTERM if result.signal == signal.SIGTERM else 0

    return work


def _leave_out(config: TrainConfig, without: tuple[str, ...]) -> TrainConfig:
    losses = {k: v for k, v in config.losses.items() if typed_options(k, v).get("teacher") not in without}
    teachers = {k: v for k, v in config.teachers.items() if k not in without}
    return dataclasses.replace(config, losses=losses, teachers=teachers)
