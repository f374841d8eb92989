"""Codec 2 through its command-line tools."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.eval.systems.base import System, missing_tools, run_tool
from codec.eval.systems.registry import baseline
from codec.eval.types import Coded, Skip

_MODES = ("3200", "2400", "1600", "1400", "1300", "1200", "700C", "450")
_FULL_SCALE = 32_768.0


@baseline("codec2")
@dataclass(frozen=True)
class Codec2(System):
    """``c2enc MODE`` and ``c2dec MODE`` on 8 kHz speech."""

    mode: str

    family = "codec2"
    sample_rate = 8_000

    @classmethod
    def parse(cls, argument: str) -> "Codec2":
        if argument not in _MODES:
            raise CodecError(f"baseline codec2:{argument}: expected a mode of {', '.join(_MODES)}")
        return cls(argument)

    @property
    def label(self) -> str:
        return f"codec2:{self.mode}"

    def missing(self) -> str | None:
        return missing_tools(("c2enc", "c2dec"), "codec2")

    def signature(self) -> str:
        # The tools print no version.
        return self.label

    def code(self, clip: Clip, wav: np.ndarray) -> Coded:
        with tempfile.TemporaryDirectory() as folder:
            source, packed, decoded = (Path(folder) / name for name in ("in.raw", "x.bin", "out.raw"))
            np.clip(np.round(wav * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tofile(source)
            start = time.perf_counter()
            run_tool("c2enc", self.mode, source, packed)
            middle = time.perf_counter()
            if not packed.stat().st_size:
                raise Skip("shorter than one frame of Codec 2")
            run_tool("c2dec", self.mode, packed, decoded)
            end = time.perf_counter()
            return Coded(
                np.fromfile(decoded, dtype="<i2").astype(np.float32) / np.float32(_FULL_SCALE),
                self.sample_rate,
                bits=8.0 * packed.stat().st_size,
                encode_seconds=middle - start,
                decode_seconds=end - middle,
            )
