"""Opus and Speex: command-line tools that pack into Ogg files (RFC 3533), whose own bits do not count."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch

from codec.audio.io import load_audio, save_audio
from codec.data.manifest import Clip
from codec.eval.systems.base import System, missing_tools, run_tool
from codec.eval.systems.registry import baseline, parse_number
from codec.eval.types import Coded

_HEADER_PACKETS = 2


@dataclass(frozen=True)
class OggTool(System):
    """A pair of tools; ``parse`` takes kbps.

    Attributes:
        kbps: asked for; what it takes may differ.
        limits: of kbps.
        tools: names of the encoder and the decoder.
        package: Debian's, that both are in.
        suffix: of packed files.
    """

    kbps: float

    family: ClassVar[str]
    limits: ClassVar[tuple[float, float]]
    tools: ClassVar[tuple[str, str]]
    package: ClassVar[str]
    suffix: ClassVar[str]

    @classmethod
    def parse(cls, argument: str) -> Self:
        return cls(parse_number(argument, cls.family, *cls.limits))

    @property
    def label(self) -> str:
        return f"{self.family}:{self.kbps:g}"

    def encoder_options(self) -> tuple[str, ...]:
        raise NotImplementedError

    def decoder_options(self) -> tuple[str, ...]:
        return ()

    def missing(self) -> str | None:
        return missing_tools(self.tools, self.package)

    def signature(self) -> str:
        return f"{self.label} {run_tool(self.tools[0], '--version').splitlines()[0]}"

    def code(self, clip: Clip, wav: np.ndarray) -> Coded:
        encoder, decoder = self.tools
        with tempfile.TemporaryDirectory() as folder:
            source, packed, decoded = (Path(folder) / name for name in ("in.wav", f"x.{self.suffix}", "out.wav"))
            save_audio(source, torch.from_numpy(wav), self.sample_rate)
            start = time.perf_counter()
            run_tool(encoder, "--quiet", *self.encoder_options(), source, packed)
            middle = time.perf_counter()
            run_tool(decoder, *self.decoder_options(), packed, decoded)
            end = time.perf_counter()
            return Coded(
                load_audio(decoded).wav.numpy(),
                self.sample_rate,
                bits=8.0 * sum(packet_sizes(packed.read_bytes())[_HEADER_PACKETS:]),
                encode_seconds=middle - start,
                decode_seconds=end - middle,
            )


@baseline("opus")
@dataclass(frozen=True)
class Opus(OggTool):
    """``opusenc --bitrate KBPS --framesize 20 --speech``, ``opusdec --rate 16000``."""

    family = "opus"
    limits = (6, 256)
    tools = ("opusenc", "opusdec")
    package = "opus-tools"
    suffix = "opus"

    def encoder_options(self) -> tuple[str, ...]:
        return "--bitrate", f"{self.kbps:g}", "--framesize", "20", "--speech"

    def decoder_options(self) -> tuple[str, ...]:
        return "--quiet", "--rate", str(self.sample_rate)


@baseline("speex")
@dataclass(frozen=True)
class Speex(OggTool):
    """``speexenc --wideband --bitrate BPS``: the best quality that needs no more than that rate."""

    family = "speex"
    limits = (3.95, 42.2)
    tools = ("speexenc", "speexdec")
    package = "speex"
    suffix = "spx"

    def encoder_options(self) -> tuple[str, ...]:
        return "--wideband", "--bitrate", str(round(1000 * self.kbps))


def packet_sizes(data: bytes) -> list[int]:
    """Bytes of each packet of a one-stream Ogg file, in order, headers included.

    Raises:
        ValueError: when ``data`` is not a whole Ogg file.
    """
    sizes, current, position = [], 0, 0
    while position < len(data):
        if data[position : position + 4] != b"OggS" or position + 27 > len(data):
            raise ValueError(f"no Ogg page at byte {position}")
        count = data[position + 26]
        lacing = data[position + 27 : position + 27 + count]
        for size in lacing:
            current += size
            # A segment shorter than 255 bytes ends its packet; packets may cross pages.
            if size < 255:
                sizes.append(current)
                current = 0
        position += 27 + count + sum(lacing)
    return sizes
