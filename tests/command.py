"""Run the command line inside the test's process."""

from dataclasses import dataclass

from codec.cli import main


@dataclass(frozen=True)
class Result:
    """What a run left behind."""

    status: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        """Lines on standard error that report an error."""
        return [line for line in self.err.splitlines() if line.startswith("codec: error: ")]


def run(capfd, *arguments: object) -> Result:
    """``codec`` with these arguments; its output is taken from pytest's ``capfd``."""
    capfd.readouterr()
    status = main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return Result(status, out, err)


def run_ok(capfd, *arguments: object) -> Result:
    """The same for a run that has to succeed."""
    result = run(capfd, *arguments)
    assert result.status == 0, result.err
    assert not result.error_lines
    return result
