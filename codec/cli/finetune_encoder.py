"""``codec finetune-encoder``: stable fine-tuning of a speech encoder of transformers."""

import signal
import sys
from typing import Any

from codec.cli.recipe import run_recipe
from codec.cli.train import expand_flags
from codec.console import counted, print_note
from codec.errors import CodecError
from codec.finetuning.config import EncoderConfig
from codec.train.trainer import Trainer

DESCRIPTION = """Fine-tune a speech encoder of transformers on transcribed speech, to be merged with its base.

<output>/export is a folder that from_pretrained loads, and names its base for codec merge.

--resume is short for resume=true. Ctrl-C and SIGTERM save a checkpoint and leave, with exit status 0 and 143;
--resume continues from there.
"""


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Fine-tune as the command line says; the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    return run_recipe(EncoderConfig, finetune, DESCRIPTION, None, expand_flags(given), program, choose=_settings_class)


def _settings_class(values: dict[str, Any]) -> type[EncoderConfig]:
    if "task" not in values:
        raise CodecError("codec finetune-encoder needs a config with task: encoder, such as --config finetune_encoder")
    found = values["task"]
    if found != EncoderConfig.task:
        raise CodecError(f"config task: {found!r} is for codec train; codec finetune-encoder needs task: encoder")
    return EncoderConfig


def finetune(config: EncoderConfig) -> int:
    """Train, and say where the result is."""
    result = Trainer(config).run()
    print_note(f"{result.export}: the encoder after {counted(result.step, 'step')}")
    return 128 + signal.SIGTERM if result.signal == signal.SIGTERM else 0
