"""The command's root: its verbs, and one line for whatever goes wrong.

Command modules keep their heavy imports inside the functions, so that ``codec --help`` is quick
and an error names a missing extra.
"""

import importlib
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from codec import CodecError, __version__
from codec.atomic import reason
from codec.cli.decode import decode
from codec.cli.demo import demo
from codec.cli.encode import encode
from codec.cli.export import export
from codec.cli.extras import HELP_OPTIONS, require_extra, run_extra
from codec.cli.import_ import import_
from codec.cli.info import info
from codec.cli.stream import app as stream
from codec.console import print_error

# Newer versions of typer bring a copy of click, whose exceptions are not those of an installed click.
ClickException: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
_PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
_INTERRUPTED = 128 + 2
"""Exit status of a program that SIGINT ended."""
_INTERRUPTION = "interrupted; nothing was left half written"
_RESUMING = {"compare", "eval", "features", "prepare", "tokenize"}
"""Verbs that keep what they have done; those that train say themselves how they resume."""

app = typer.Typer(
    help="Neural speech tokenizer: speech to discrete tokens and back.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Neural speech tokenizer: speech to discrete tokens and back."""
    if version:
        typer.echo(f"codec {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command("encode")(encode)
app.command("decode")(decode)
app.command("info")(info)
app.command("demo")(demo)
app.command("export")(export)
app.command("import")(import_)
app.add_typer(stream, name="stream")


@app.command("eval", context_settings=_PASS_ON)
def evaluate(context: typer.Context) -> int | None:
    """Measure codecs over a manifest of clips (extra: eval)."""
    return run_extra("eval", "codec.cli.eval", "evaluate", context.args)


@app.command("serve", context_settings=_PASS_ON)
def serve(context: typer.Context) -> int | None:
    """Serve live tokens to many clients, with a page to try it (extra: serve)."""
    return run_extra("serve", "codec.cli.serve", "serve", context.args)


@app.command("bench", context_settings=_PASS_ON)
def bench(context: typer.Context) -> int | None:
    """Measure speed against other codecs (extra for baselines: bench)."""
    return run_extra("bench", "codec.cli.bench", "bench", context.args)


@app.command("tokenize", context_settings=_PASS_ON)
def tokenize(context: typer.Context) -> int | None:
    """Tokenize a corpus of any size; it can be stopped and started again (extra: corpora)."""
    return run_extra("corpora", "codec.cli.tokenize", "tokenize", context.args, "tokenize")


@app.command("corpus", context_settings=_PASS_ON)
def corpus(context: typer.Context) -> int | None:
    """Look into a corpus of tokens, or export it for trainers (extra: corpora)."""
    with require_extra("corpora", "corpus"):
        command = importlib.import_module("codec.cli.corpus").app
    return command(context.args, prog_name="codec corpus", standalone_mode=False)


@app.command("lm", context_settings=_PASS_ON)
def lm(context: typer.Context) -> int | None:
    """Train a language model on tokens, and let it speak (extras: lm, corpora)."""
    with require_extra("lm", "lm"):
        command = importlib.import_module("codec.cli.lm").app
    return command(context.args, prog_name="codec lm", standalone_mode=False)


@app.command("embed", context_settings=_PASS_ON)
def embed(context: typer.Context) -> int | None:
    """Write embeddings of recordings, by any encoder, as Parquet (extra: embed)."""
    return run_extra("embed", "codec.cli.embed", "embed", context.args)


_CONFIG_VERBS = {
    "prepare": "Write a manifest of recordings from a folder, another manifest or a dataset (extra: train).",
    "features": "Extract teachers' features of a manifest into a cache that training reads (extra: train).",
    "train": "Train a codec as a config says (extra: train).",
    "merge": "Merge models that were trained from one base (extra: train).",
    "distill": "Train a small encoder on a teacher's vectors, one for each clip (extra: train).",
    "finetune-encoder": "Fine-tune a speech encoder of transformers by CTC, to be merged with its base (extra: train).",
    "compare": "Train variants of a config at equal budget and score them alike (extras: train, eval).",
}


def _add_config_verb(name: str, text: str) -> None:
    """A verb that reads a config; its module, and what that imports, is loaded when it runs."""

    def verb(context: typer.Context) -> int | None:
        with require_extra("train", name):
            module = importlib.import_module(f"codec.cli.{name.replace('-', '_')}")
        return module.main(arguments=context.args, program=f"codec {name}")

    app.command(name, help=text, context_settings=_PASS_ON)(verb)


@app.command("finetune", context_settings=_PASS_ON)
def finetune(context: typer.Context) -> int | None:
    """Train a model's decoder on a voice; its tokens stay valid (extras: train, eval)."""
    return run_extra("train", "codec.cli.finetune", "finetune", context.args, "finetune")


for _name, _text in _CONFIG_VERBS.items():
    _add_config_verb(_name, _text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; errors become one line on standard error."""
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        status = app(arguments, prog_name="codec", standalone_mode=False)
        if status == _INTERRUPTED:  # typer turns Ctrl-C into a status
            print_error(_interruption(arguments))
        return status if isinstance(status, int) else 0
    except CodecError as error:
        print_error(str(error))
        return 1
    except ClickException as error:
        print_error(_usage(error))
        return 2
    except OSError as error:
        print_error(f"{error.filename or 'input or output'}: {reason(error)}")
        return 1
    except (KeyboardInterrupt, typer.Abort):
        print_error(_interruption(arguments))
        return _INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interruption(arguments: Sequence[str] | None) -> str:
    """What Ctrl-C has left, by the verb of a command line."""
    verb = next(iter(sys.argv[1:] if arguments is None else arguments), "")
    return f"{_INTERRUPTION}; the same command resumes" if verb in _RESUMING else _INTERRUPTION


def _usage(error: Any) -> str:
    """What is wrong with the command line, and which ``--help`` has the right one."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "codec"
    return f"{error.format_message().replace('Value error, ', '')} (see {command} --help)"


def _terminate(number: int, _frame: object) -> None:
    """Let a polite kill unwind like an exception, so that temporary files are removed."""
    sys.exit(128 + number)
