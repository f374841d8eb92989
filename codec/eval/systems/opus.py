"""Opus through opus-tools."""

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


@baseline("opus")
@dataclass(frozen=True)
class Opus(System):
    """``opusenc --bitrate KBPS --framesize 20 --speech``, ``opusdec --rate 16000``."""

    kbps: float

    family = "opus"

    @classmethod
    def parse(cls, argument: str) -> "Opus":
        return cls(parse_number(argument, "opus", 6, 256))

    @property
    def label(self) -> str:
        return f"opus:{self.kbps:g}"

    def missing(self) -> str | None:
        return missing_tools(("opusenc", "opusdec"), "opus-tools")

    def signature(self) -> str:
        return f"{self.label} {run_tool('opusenc', '--version').splitlines()[0]}"

    def code(self, clip: Clip, wav: np.ndarray) -> Coded:
        with tempfile.TemporaryDirectory() as folder:
            source, packed, decoded = (Path(folder) / name for name in ("in.wav", "x.opus", "out.wav"))
            save_audio(source, torch.from_numpy(wav), self.sample_rate)
            start = time.perf_counter()
            options = ("--bitrate", f"{self.kbps:g}", "--framesize", "20", "--speech")
            run_tool("opusenc", "--quiet", *options, source, packed)
            middle = time.perf_counter()
            run_tool("opusdec", "--quiet", "--rate", str(self.sample_rate), packed, decoded)
            end = time.perf_counter()
            return Coded(
                load_audio(decoded).wav.numpy(),
                self.sample_rate,
                bits=8.0 * sum(packet_sizes(packed.read_bytes())[_HEADER_PACKETS:]),
                encode_seconds=middle - start,
                decode_seconds=end - middle,
            )
