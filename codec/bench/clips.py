"""Short clips and frames through the public functions, of this version and of another in turn."""

import contextlib
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import IO, cast

from codec.bench import turns
from codec.bench.registry import benchmark
from codec.bench.types import BenchConfig, Table
from codec.errors import CodecError
from codec.model.files import find_model

STARTS = 5
"""Processes of each version. Where in memory the weights lie makes some per cent, and stays as long as a process."""
_HERE = Path(turns.__file__).resolve().parents[2]


@benchmark("clips")
def clips(config: BenchConfig) -> Table:
    """Medians over rounds. With ``--against`` both versions have a turn in each round, so that what else
    the machine does hits them alike, and the ratio is the median of the rounds' ratios."""
    trees = [_HERE] if config.against is None else [_HERE, _source(Path(config.against))]
    starts = min(STARTS, config.repeats)
    rounds = [one for start in range(starts) for one in _rounds(trees, config, range(start, config.repeats, starts))]
    by_part = {part: [[times[part] for times in each] for each in rounds] for part in rounds[0][0]}
    rows: list[tuple[str | float, ...]] = [(part, *compared(times)) for part, times in by_part.items()]
    title = f"{config.repeats} rounds, {config.threads} thread(s), engine {config.engine}"
    more = ("ms of the other", "ratio", "25 %", "75 %") if config.against is not None else ()
    return Table(title, ("part", "ms", *more), tuple(rows))


def _rounds(trees: list[Path], config: BenchConfig, numbers: range) -> list[list[dict[str, float]]]:
    """Rounds of processes that are started for them."""
    with contextlib.ExitStack() as stack:
        versions = [stack.enter_context(_version(tree, config)) for tree in trees]
        for version in versions:
            version.turn()
        # Every other round the other way round: the first turn of a round is the slower one.
        return [_round(versions, backwards=bool(number % 2)) for number in numbers]


class _Version:
    """A process that has one version of the package loaded."""

    def __init__(self, process: subprocess.Popen[str], tree: Path):
        self._process, self._tree = process, tree

    def turn(self) -> dict[str, float]:
        """Milliseconds by part."""
        with contextlib.suppress(BrokenPipeError):
            print("turn", file=self._process.stdin, flush=True)
        return json.loads(self._line())

    def check(self) -> None:
        """Refuse another package than the one asked for, as where Python is told to find that first."""
        package = Path(self._line().strip())
        if package.parent != self._tree:
            raise CodecError(f"{self._tree}: Python loads {package} instead; unset PYTHONSAFEPATH")

    def _line(self) -> str:
        line = cast(IO[str], self._process.stdout).readline()
        if not line:
            raise CodecError(f"{self._tree}: this version ended with an error; its message is above")
        return line


@contextlib.contextmanager
def _version(tree: Path, config: BenchConfig) -> Iterator[_Version]:
    model = str(find_model(config.model).resolve())
    facts = (model, config.engine, config.device, str(config.threads), *map(str, config.clip_seconds))
    # Python looks for modules of a ``-c`` script in the working folder first, before any installed codec.
    command = [sys.executable, "-c", inspect.getsource(turns), *facts]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tree, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            version = _Version(process, tree)
            version.check()
            yield version
        finally:
            process.kill()


def _source(folder: Path) -> Path:
    if not (folder / "codec" / "__init__.py").is_file():
        raise CodecError(f"--against {folder}: no folder codec/ in it; name a checkout of the source")
    return folder.resolve()


def _round(versions: list[_Version], backwards: bool) -> list[dict[str, float]]:
    order = range(len(versions))
    times = {place: versions[place].turn() for place in (reversed(order) if backwards else order)}
    return [times[place] for place in order]


def compared(rounds: list[list[float]]) -> tuple[float, ...]:
    """Medians of one part, and the middle half of the ratios.

    Args:
        rounds: each with the time of every version, ours first.

    Returns:
        our time, and with another version its time, our ratio to it, and the quartiles of that.
    """
    times = tuple(median(version) for version in zip(*rounds, strict=True))
    if len(times) == 1:
        return times
    ratios = sorted(ours / other for ours, other in rounds)
    return *times, median(ratios), ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
