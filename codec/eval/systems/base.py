"""The interface of a system."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from codec.data.manifest import Clip
from codec.eval.training import Training
from codec.eval.types import Coded


class System:
    """Something that codes and decodes speech. Light and picklable: models are loaded on first use."""

    if TYPE_CHECKING:
        # Attributes of most systems, properties of others: all that is said here is that they can be read.
        @property
        def label(self) -> str:
            """Name in tables, unique in a run."""

        @property
        def family(self) -> str:
            """Systems of one family at several bitrates make one rate-quality curve."""

        @property
        def sample_rate(self) -> int:
            """Hz at which it wants its input; 16 kHz by default."""

    else:
        sample_rate = 16_000

    aligned: ClassVar[bool] = False
    """Whether its output lies on the recording's time axis by construction. Then no delay is looked for: where
    waveforms are not kept, as at low rates, one may be found that is not there."""

    @classmethod
    def parse(cls, argument: str) -> "System":
        """The system that ``NAME:ARGUMENT`` means, of a registered baseline.

        Raises:
            CodecError: when the argument is not understood.
        """
        raise NotImplementedError

    def missing(self) -> str | None:
        """The reason why this system cannot run on this machine, with a remedy; ``None`` if it can."""
        return None

    def check(self, clips: Sequence[Clip]) -> None:
        """Raise a :class:`CodecError` for clips that it cannot tell apart."""

    def signature(self) -> str:
        """All that its output depends on but the clip."""
        raise NotImplementedError

    def clip_signature(self, clip: Clip) -> str:
        """Everything besides the recording on which its output for ``clip`` depends."""
        return ""

    def training(self) -> Training | None:
        """Losses that it was trained with, where it lists them.

        Raises:
            CodecError: when its list cannot be read.
        """
        return None

    def code(self, clip: Clip, wav: np.ndarray) -> Coded:
        """Code and decode ``wav (T,)``, float32 at :attr:`sample_rate`.

        Raises:
            Skip: when this clip cannot be coded.
        """
        raise NotImplementedError


def missing_tools(tools: tuple[str, ...], package: str) -> str | None:
    """One line that names the Debian package of command-line tools that are not on the path."""
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if not absent:
        return None
    return f"{' and '.join(absent)} not found; install the Debian package: apt-get install {package}"


def run_tool(*command: str | Path) -> str:
    """Run a command-line tool and return what it printed.

    Raises:
        RuntimeError: when it fails, with the end of its output.
    """
    result = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    printed = (result.stdout + result.stderr).decode(errors="replace")
    if result.returncode != 0:
        raise RuntimeError(f"{command[0]} failed ({result.returncode}): {' '.join(printed.split())[-200:]}")
    return printed
