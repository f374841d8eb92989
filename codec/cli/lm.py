"""``codec lm``: language models on tokens."""

from pathlib import Path
from typing import Annotated

import typer

from codec.cli.dataclass_options import flag, options_of
from codec.cli.extras import HELP_OPTIONS
from codec.cli.recipe import run_recipe
from codec.console import print_note
from codec.lm.config import LmConfig
from codec.lm.generate import GenerateConfig
from codec.lm.generate import generate as run_generate
from codec.settings import CONFIGS

_TRAIN = """Train a language model on a corpus of codec tokenize.

codec lm train CONFIG [--base MODEL] [--resume] [KEY.SUB=VALUE ...]

CONFIG is a file, a shipped config, or the part of its name after lm_ (tiny). --base MODEL is short for base=MODEL.
output gets export/ (for codec lm generate), report.json (held-out bits a frame) and checkpoints.
"""

app = typer.Typer(
    help="Train language models on tokens, and let them speak.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
)


@app.command(
    "train", context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
)
def train(context: typer.Context) -> None:
    """Train a language model as a config says."""
    status = run_recipe(LmConfig, _work, _TRAIN, None, expand_flags(context.args), "codec lm train")
    if status:
        raise typer.Exit(status)


def expand_flags(arguments: list[str]) -> list[str]:
    """``CONFIG``, ``--base MODEL`` and ``--resume`` as what they stand for."""
    expanded: list[str] = []
    ahead = list(arguments)
    while ahead:
        argument = ahead.pop(0)
        if argument == "--resume":
            expanded.append("resume=true")
        elif argument.partition("=")[0] == "--base":
            value = argument.partition("=")[2] or (ahead.pop(0) if ahead else "")
            expanded.append(f"base={value}")
        elif argument == "--config":
            expanded += [argument, *ahead[:1]]
            ahead = ahead[1:]
        elif not argument.startswith("-") and "=" not in argument:
            named = f"lm_{argument}"
            expanded += ["--config", named if (CONFIGS / f"{named}.yaml").is_file() else argument]
        else:
            expanded.append(argument)
    return expanded


def _work(config: LmConfig) -> int:
    from codec.lm.train import train as run_train

    trained = run_train(config)
    if trained.report is None:
        return 1
    for name, bits in trained.report["bits_per_frame"].items():
        print(f"{name}: {bits['value']:.3f} bits a frame")
    print_note(f"{trained.export}: the model; report.json is next to it")
    return 0


Output = Annotated[Path, typer.Argument(metavar="OUT", help="A .wav or .flac file.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
_FLAGS = {
    "model": flag("--model", "-m"),
    "sampling.temperature": flag("--temperature"),
    "sampling.top_k": flag("--top-k"),
}


@app.command("generate")
@options_of(GenerateConfig, _FLAGS, ("output", "overwrite"))
def generate(config: GenerateConfig, output: Output, overwrite: Overwrite = False) -> None:
    """Let a model speak; audio is written while it is made."""
    seconds = run_generate(config, output, overwrite)
    print_note(f"{output}: {seconds:.2f} s")
