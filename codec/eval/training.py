"""The losses that a model was trained with, and the metrics that resemble one of them.

A metric that was trained on says less than it seems to. A model lists its losses in ``training.json``
next to ``config.json``; metrics and probes list what they resemble; the tables mark the matches.
"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codec.atomic import atomic_path
from codec.config import from_dict
from codec.errors import CodecError

FILE = "training.json"


@dataclass(frozen=True)
class Training:
    """The content of ``training.json``.

    Attributes:
        losses: of all stages whose effect is left in the weights, by registered name, as ``loudness``; one
            that asks a teacher names it behind a colon, as ``distill_sm:whisper``.
    """

    losses: list[str]

    def like(self, resembles: Iterable[str]) -> list[str]:
        """Those of the losses whose name, or whose teacher, is among ``resembles``.

        A teacher ``whisper-base`` is ``whisper``, too: all sizes of a model learnt from the same data.
        """
        wanted = set(resembles)
        return [loss for loss in self.losses if wanted & {loss, *loss.split(":"), _family(loss)}]


def _family(loss: str) -> str:
    return loss.partition(":")[2].partition("-")[0]


def write_training(folder: Path, training: Training) -> None:
    """``training.json`` next to a model's ``config.json``."""
    with atomic_path(folder / FILE) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(training), indent=2) + "\n", encoding="utf-8")


def read_training(folder: Path) -> Training | None:
    """The losses of the model in a folder, or nothing where it does not list them.

    Raises:
        CodecError: when the file is no JSON or has other keys.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CodecError(f"{path}: cannot be read as JSON ({error})") from None
    return from_dict(Training, values, FILE)
