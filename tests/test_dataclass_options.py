"""Options made of a config's fields: defaults, values, help and errors are the config's own."""

import dataclasses
import inspect
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("websockets", reason="needs the package websockets")
pytest.importorskip("prometheus_client", reason="needs the package prometheus_client")

from codec.bench.types import BenchConfig
from codec.cli.app import ClickException
from codec.cli.dataclass_options import flag, options_of
from codec.cli.serve import serve
from codec.errors import CodecError
from codec.serve.config import ServeConfig


@dataclass(frozen=True)
class Part:
    depth: int | None = None
    """How deep it
    goes."""
    exact: bool = False


@dataclass(frozen=True)
class Config:
    out: Path
    """Where it goes."""
    rate: float = 0.5
    mode: Literal["fast", "slow"] = "slow"
    names: tuple[str, ...] = ("a", "b")
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    steps: tuple[float, ...] | None = None
    hosts: list[str] = field(default_factory=list)
    part: Part = field(default_factory=Part)
    bright: bool = True

    def __post_init__(self):
        if self.rate > 1:
            raise CodecError(f"rate is {self.rate}; it must be at most 1")


FLAGS = {"hosts": flag("--host", repeated=True), "part.depth": flag("--depth", "-d", min=0)}


def call(cls: type, arguments: list[str], flags=None, order=()) -> tuple:
    """What a command with options of ``cls`` gets from these arguments."""
    got = []

    @options_of(cls, flags, order)
    def command(config: cls, extra: Annotated[int, typer.Option("--extra")] = 7) -> None:
        """A command."""
        got.append((config, extra))

    app = typer.Typer(add_completion=False)
    app.command()(command)
    app(arguments, prog_name="it", standalone_mode=False)
    return got[0] if got else ()


def test_without_options_the_config_has_its_own_defaults():
    assert call(Config, ["--out", "x"], FLAGS) == (Config(Path("x")), 7)
    assert call(ServeConfig, []) == (ServeConfig(), 7)
    assert call(BenchConfig, []) == (BenchConfig(), 7)


def test_every_kind_of_field_comes_from_its_option():
    arguments = (
        "--out x/y --rate 1e-3 --mode fast --names c --sizes 3,4 --steps 0.5,2 --host a --host b,c -d 3 "
        "--part.exact --no-bright --extra 9"
    )
    config = Config(Path("x/y"), 1e-3, "fast", ("c",), [3, 4], (0.5, 2.0), ["a", "b,c"], Part(3, True), False)
    assert call(Config, arguments.split(), FLAGS) == (config, 9)


@given(st.lists(st.integers(-9, 9), min_size=1), st.lists(st.floats(allow_nan=False), min_size=1))
def test_lists_with_commas_round_trip(sizes, steps):
    typed = [f"--sizes={','.join(map(str, sizes))}", f"--steps={','.join(map(repr, steps))}"]
    config, _ = call(Config, ["--out", "x", "--names=", *typed], FLAGS)
    assert (config.names, config.sizes, config.steps) == ((), sizes, tuple(steps))


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--sizes 1,x", "--sizes 1,x: expected numbers with commas, as 1,2,4,8"),
        ("--sizes ,", "--sizes ,: expected numbers with commas"),
        ("--rate 2", "rate is 2.0; it must be at most 1"),
    ],
)
def test_what_the_config_refuses_is_one_line(typed, message):
    with pytest.raises(CodecError, match=message) as caught:
        call(Config, ["--out", "x", *typed.split()], FLAGS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("typed", ["", "--out x --mode quick", "--out x -d -1", "--out x --rate fast"])
def test_what_typer_can_check_is_checked_by_typer(typed):
    with pytest.raises(ClickException):
        call(Config, typed.split(), FLAGS)


def test_help_has_defaults_docs_and_the_given_order(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    order = ["part.exact", "extra", "names", "out"]
    assert call(Config, ["--help"], FLAGS, order) == ()
    shown = capsys.readouterr().out
    assert "Where it goes." in shown and "How deep it goes." in shown and "[default: a,b]" in shown
    names = [
        "--part.exact",
        "--extra",
        "--names",
        "--out",
        "--rate",
        "--mode",
        "--sizes",
        "--steps",
        "--host",
    ]
    places = [shown.index(f" {name} ") for name in [*names, "--depth", "--bright"]]
    assert places == sorted(places)


@given(st.lists(st.sampled_from(["a", "b=c", "d@6"]), unique=True))
def test_the_earlier_name_of_an_option_gives_the_same_config(names):
    flags = {**FLAGS, "names": flag("--names", earlier="--old-names")}
    typed = f"={','.join(names)}"
    assert call(Config, ["--out", "x", f"--old-names{typed}"], flags) == call(
        Config, ["--out", "x", f"--names{typed}"], flags
    )


def test_the_earlier_name_of_an_option_is_hidden_and_warns(capsys):
    flags = {**FLAGS, "names": flag("--names", earlier="--old-names")}
    call(Config, ["--help"], flags)
    assert "--old-names" not in capsys.readouterr().out
    call(Config, ["--out", "x", "--old-names", "c"], flags)
    assert capsys.readouterr().err == "warning: --old-names is deprecated; use --names\n"
    with pytest.raises(CodecError, match="--old-names is the earlier name of --names; give one of them"):
        call(Config, ["--out", "x", "--old-names", "c", "--names", "d"], flags)


def test_a_config_that_cannot_be_options_is_refused_at_once():
    @dataclass(frozen=True)
    class Odd:
        parts: dict[str, int] = field(default_factory=dict)

    with pytest.raises(TypeError, match=r"Odd\.parts: .* cannot be an option"):
        options_of(Odd)
    with pytest.raises(TypeError, match="Config has no field size"):
        options_of(Config, {"size": flag("--size")})


def test_every_option_of_the_server_is_documented():
    documented = (Path(__file__).parents[1] / "docs" / "serving.md").read_text(encoding="utf-8")
    table = documented.partition("## Options")[2].partition("## Protocol")[0]
    for option in inspect.signature(serve).parameters.values():
        declared = option.annotation.__metadata__[0]
        # Typer keeps the first name apart: outside of annotations it is the default.
        typed = declared.default if isinstance(declared.default, str) else f"--{option.name}"
        assert f"`{typed}`" in table


OTHER = {int: 7, float: 7.5, bool: True, str: "other", int | None: 7, str | None: "other"}
SPELLED = {"max_message_bytes": "max-message", "idle_seconds": "idle", "stall_seconds": "stall"}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ServeConfig)])
def test_every_setting_of_the_server_can_be_given(monkeypatch, tiny_model_dir, name):
    from codec.cli.app import main

    hint = typing.get_type_hints(ServeConfig)[name]
    value = ("https://a.example", "https://b.example") if name == "origins" else OTHER[hint]
    value = 2048 if name == "max_message_bytes" else value
    typed = [f"--{SPELLED.get(name, name.replace('_', '-'))}", str(value)]
    typed = typed[:1] if hint is bool else typed
    typed = [f"--origin={origin}" for origin in value] if name == "origins" else typed
    served = []

    async def run_server(model, config, tell):
        served.append(config)

    monkeypatch.setattr("codec.serve.server.run_server", run_server)
    assert main(["serve", "--model", str(tiny_model_dir), *typed]) == 0
    assert served == [dataclasses.replace(ServeConfig(), **{name: value})]
