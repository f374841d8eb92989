"""Speex wideband through its command-line tools."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from codec.audio.io import load_audio, save_audio
from codec.data.manifest import Clip
from codec.eval.systems.base import System, missing_tools, run_tool
from codec.eval.systems.ogg import packet_sizes
from codec.eval.systems.registry import baseline, parse_number
from codec.eval.types import Coded

_HEADER_PACKETS = 2


@baseline("speex")
@dataclass(frozen=True)
class Speex(System):
    """``speexenc --wideband --bitrate BPS``: the best quality that needs no more than that rate."""

    kbps: float

    family = "speex"

    @classmethod
    def parse(cls, argument: str) -> "Speex":
        return cls(parse_number(argument, "speex", 3.95, 42.2))

    @property
    def label(self) -> str:
        return f"speex:{self.kbps:g}"

    def missing(self) -> str | None:
        return missing_tools(("speexenc", "speexdec"), "speex")

    def signature(self) -> str:
        return f"{self.label} {run_tool('speexenc', '--version').splitlines()[0]}"

    def code(self, clip: Clip, wav: np.ndarray) -> Coded:
        with tempfile.TemporaryDirectory() as folder:
            source, packed, decoded = (Path(folder) / name for name in ("in.wav", "x.spx", "out.wav"))
            save_audio(source, torch.from_numpy(wav), self.sample_rate)
            start = time.perf_counter()
            rate = str(round(1000 * self.kbps))
            run_tool("speexenc", "--quiet", "--wideband", "--bitrate", rate, source, packed)
            middle = time.perf_counter()
            run_tool("speexdec", packed, decoded)
            end = time.perf_counter()
            return Coded(
                load_audio(decoded).wav.numpy(),
                self.sample_rate,
                bits=8.0 * sum(packet_sizes(packed.read_bytes())[_HEADER_PACKETS:]),
                encode_seconds=middle - start,
                decode_seconds=end - middle,
            )
