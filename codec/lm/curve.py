"""Held-out bits while a model is trained: ``curve.jsonl`` in the run's folder."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import transformers

from codec.atomic import atomic_file
from codec.console import print_note
from codec.lm.base import SpeechLm
from codec.lm.pieces import Pieces
from codec.lm.report import bits_of

CURVE = "curve.jsonl"
_PIECES = 40
"""Held-out pieces that are measured each time, the first by draw."""


class Curve(transformers.TrainerCallback):
    """A line ``{"step", "bits_per_frame", "by_codebook"}`` every so many steps; no weight depends on it."""

    def __init__(self, lm: SpeechLm, pieces: Pieces, folder: Path, every: int):
        self._lm, self._test, self._path, self._every = lm, pieces.test[:_PIECES], folder / CURVE, every

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Lines of steps that are made again, and of another run, are dropped."""
        if not state.is_world_process_zero or not self._path.is_file():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            # The last line of a run that was killed may be half a line.
            with suppress(ValueError, TypeError, KeyError):
                if json.loads(line)["step"] <= state.global_step:
                    kept.append(line + "\n")
        with atomic_file(self._path) as file:
            file.write("".join(kept).encode())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See transformers."""
        if state.global_step % self._every or not state.is_world_process_zero:
            return
        self._lm.module.eval()
        bits = bits_of(self._test, 0, lambda part: self._lm.bits(part).numpy())
        self._lm.module.train()
        row = {"step": state.global_step, "bits_per_frame": bits.value, "by_codebook": bits.by_codebook}
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print_note(f"step {state.global_step}: {bits.value:.3f} bits a frame on {len(self._test)} held-out pieces")
