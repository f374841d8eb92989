"""Recordings that anything else decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codec.audio.io import AUDIO_SUFFIXES, load_audio
from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.eval.systems.base import System
from codec.eval.systems.registry import baseline, parse_number
from codec.eval.types import Coded, Skip


@baseline("dir")
@dataclass(frozen=True)
class Directory(System):
    """Files of a folder, named as the manifest's clips: by relative path, or by stem alone."""

    label: str
    path: Path
    kbps: float | None = None

    @classmethod
    def parse(cls, argument: str) -> "Directory":
        name, equals, path = argument.partition("=")
        name, at, rate = name.partition("@")
        if not equals or not name or not path:
            raise CodecError(f"baseline dir:{argument}: expected dir:NAME=FOLDER or dir:NAME@KBPS=FOLDER")
        if not Path(path).is_dir():
            raise CodecError(f"baseline dir:{argument}: no folder {path}")
        return cls(name, Path(path), parse_number(rate, f"dir:{name}@", 0.01, 2000) if at else None)

    @property
    def family(self) -> str:
        # Names such as lyra-3200 and lyra-6000 are one codec at two rates.
        return self.label.rstrip("0123456789.k").rstrip("-_ ") or self.label

    def signature(self) -> str:
        return f"dir {self.path.resolve()} {self.kbps}"

    def check(self, clips: Sequence[Clip]) -> None:
        clip_of: dict[Path, str] = {}
        for clip in clips:
            found = self._find(clip)
            if found is not None and clip_of.setdefault(found, clip.name) != clip.name:
                raise CodecError(
                    f"baseline dir:{self.label}: {found} would be both {clip_of[found]} and {clip.name}; put the files "
                    "into folders as the clips are"
                )

    def clip_signature(self, clip: Clip) -> str:
        found = self._find(clip)
        if found is None:
            return "missing"
        stat = found.stat()
        return f"{found.name} {stat.st_size} {stat.st_mtime_ns}"

    def code(self, clip: Clip, wav: np.ndarray) -> Coded:
        found = self._find(clip)
        if found is None:
            raise Skip(f"no file of that name in {self.path}")
        audio = load_audio(found)
        bits = 1000 * self.kbps * len(wav) / self.sample_rate if self.kbps else None
        return Coded(audio.wav.numpy(), audio.sample_rate, bits)

    def _find(self, clip: Clip) -> Path | None:
        for stem in (clip.name, Path(clip.path).stem):
            for suffix in AUDIO_SUFFIXES:
                candidate = self.path / f"{stem}{suffix}"
                if candidate.is_file():
                    return candidate
        return None
