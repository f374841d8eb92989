"""Held-out bits while a model is trained: ``curve.jsonl`` in the run's folder."""

import json
from pathlib import Path
from typing import Any

import transformers

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
