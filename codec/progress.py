"""One look for all progress bars, on standard error, so that standard output can be piped."""

from collections.abc import Iterable, Iterator
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


class ProgressBar:
    """A bar in a ``with`` block: what is done, out of how much, the time it took and will take, and a line.

    Lines printed through :attr:`console` meanwhile stand above it.
    """

    def __init__(
        self,
        title: str,
        total: float | None,
        done: int = 0,
        counted: bool = True,
        quiet: bool = False,
        terminal_only: bool = False,
    ):
        """
        Args:
            title: before the bar.
            total: what is to do; ``None`` where that is not known yet.
            done: what has been done before.
            counted: show "done/total"; not for seconds of audio and the like.
            quiet: neither a bar nor lines, as in all processes but the main one.
            terminal_only: no bar where standard error is a file; otherwise its last state is written there.
        """
        self.console = Console(stderr=True, quiet=quiet)
        count = [MofNCompleteColumn()] if counted else []
        self._bar = Progress(
            *(TextColumn("{task.description}"), BarColumn(), *count, TextColumn("{task.fields[line]}")),
            *(TimeElapsedColumn(), TimeRemainingColumn()),
            console=self.console,
            disable=quiet or (terminal_only and not self.console.is_terminal),
        )
        self._task = self._bar.add_task(title, total=total, completed=done, line="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def advance(self, amount: float = 1, line: str | None = None) -> None:
        """So much more is done; ``line`` replaces the one behind the bar."""
        self._bar.advance(self._task, amount)
        if line is not None:
            self.show(line)

    def set(self, done: float, total: float | None = None) -> None:
        """So much is done in all, out of ``total`` where that is given."""
        self._bar.update(self._task, completed=done, total=total)

    def show(self, line: str) -> None:
        """Replace the line behind the bar."""
        self._bar.update(self._task, line=line)


def track(items: Iterable[T], title: str, total: int, quiet: bool = False) -> Iterator[T]:
    """The items, with a bar that moves on with each."""
    with ProgressBar(title, total, quiet=quiet) as bar:
        for item in items:
            yield item
            bar.advance()
