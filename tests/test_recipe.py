"""Command lines of recipes: configs, overrides, help, errors."""

from dataclasses import dataclass, field

import pytest

from codec.cli.recipe import run_recipe
from codec.config import field_docs
from codec.errors import CodecError
from codec.settings import read_config
from codec.train.config import TrainConfig


@dataclass(frozen=True)
class Optim:
    lr: float = 1e-3
    """Step size."""
    betas: tuple[float, ...] = (0.8, 0.99)


@dataclass(frozen=True)
class Settings:
    steps: int
    """How many
    steps."""
    optim: Optim = field(default_factory=Optim)
    tag: str | None = None
    extra: Optim | None = None


def test_overrides_win_over_the_file(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("steps: 3\noptim: {lr: 0.5}\ntag: a\n")
    config = read_config(Settings, file, ["optim.lr=1e-4", "optim.betas=[0.5, 0.9]", "tag=null"])
    assert config == Settings(3, Optim(1e-4, (0.5, 0.9)), None)


@pytest.mark.parametrize(
    "text, overrides, message",
    [
        ("steps: [", [], r"c\.yaml: not YAML"),
        ("- 1", [], r"c\.yaml: expected a mapping of settings, got list"),
        ("steps: 1", ["optim.rl=1"], "config optim: unknown key 'rl'; known keys: betas, lr"),
        ("steps: 1", ["optim"], "'optim' is not an override; expected key.sub=value"),
        ("steps: 1", ["tag=[1"], "the value is not YAML"),
        ("steps: 1", ["tag=*.flac"], r"""the value is not YAML .*; write 'tag="\*\.flac"'"""),
        ("steps: 1", ["tag.x=1"], "config tag: expected str"),
        ("optim: {}", [], "config Settings: steps must be given"),
    ],
)
def test_mistakes_are_one_line(tmp_path, text, overrides, message):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(CodecError, match=message) as caught:
        read_config(Settings, file, overrides)
    assert "\n" not in str(caught.value)


def test_help_lists_every_key_with_default_and_docs(capsys):
    with pytest.raises(SystemExit) as caught:
        run_recipe(Settings, lambda config: None, "Do it.", {"parts.NAME": Optim}, ["--help"])
    shown = capsys.readouterr().out
    assert caught.value.code == 0
    for line in (
        "steps=(required)  How many steps.",
        "optim.lr=0.001  Step size.",
        "optim.betas=[0.8, 0.99]",
    ):
        assert line in shown
    assert "tag=null" in shown and "extra.lr=0.001" in shown and "parts.NAME:\n  lr=0.001" in shown


def test_exit_status_and_error_line(capsys):
    def fail(config):
        raise CodecError(f"no luck in {config.steps} steps")

    assert run_recipe(Settings, fail, "", arguments=["steps=2"]) == 1
    assert capsys.readouterr().err == "codec: error: no luck in 2 steps\n"
    assert run_recipe(Settings, lambda config: None, "", arguments=["steps=2"]) == 0
    assert run_recipe(Settings, lambda config: 1, "", arguments=["steps=2"]) == 1


def test_docs_of_inherited_fields():
    @dataclass(frozen=True)
    class More(Settings):
        other: int = 0
        """Another."""

    assert field_docs(More) == {"steps": "How many steps.", "other": "Another."}


def test_null_takes_a_group_out_and_is_a_value_elsewhere(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("steps: 1\ntag: a\nextra: {lr: 2}\n")
    assert read_config(Settings, file, ["extra=null", "tag=null"]) == Settings(1)
    config = read_config(TrainConfig, "default", ["teachers.sm=null", "losses.distill_sm=null"])
    assert "sm" not in config.teachers and "distill_sm" not in config.losses and "lm" in config.teachers
