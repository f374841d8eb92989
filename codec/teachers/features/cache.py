"""Teachers' features on disk: one safetensors file per clip and teacher.

``<folder>/<teacher name>/<clip name>.safetensors`` holds

- ``features (N, D)`` float16,
- ``mask (T,)`` bool, false where the teacher has no features,
- ``index (T,)`` int32, optional: frame t has row ``index[t]``. Without it N = T. A language teacher
  repeats a sub-word's state over many frames; stored once, a corpus takes a tenth of the room.

A teacher of level ``clip`` has one vector for the whole clip: ``features (1, D)`` or ``(D,)``, and
``mask (1,)``, false where the teacher has no vector for the clip.

The metadata name the teacher, layer, rate (Hz), offset (seconds of frame 0's centre), mode and level, and the options
that made the features, see :mod:`codec.teachers.features.options`.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from codec.atomic import atomic_path
from codec.data import Clip
from codec.encoders.base import SLACK
from codec.errors import CodecError
from codec.teachers.features.options import TeacherOptions, changed_options

REMEDY = "run codec features, or name another cache folder"
REPLACE = "use another cache folder or teacher name, or delete the old features"
LENGTH_SLACK = 0.5
"""Seconds by which a clip's frames may be longer or shorter than the manifest says, besides what encoders may be."""


@dataclass(frozen=True)
class FeatureInfo:
    """Description of a teacher's features, the same for all clips of a cache."""

    teacher: str
    """Hub id or folder name of the model (a machine's own paths are not kept)."""
    layer: str
    rate: float
    """Hz."""
    offset: float
    """Seconds of frame 0's centre."""
    mode: str
    """``speech``, or the language teacher's ``aligned``, ``cls``, ``index``, ``shuffled``."""
    dim: int
    level: Literal["frame", "clip"] = "frame"
    """``clip``: one vector for a clip, which has no times."""
    options: str = field(default="", compare=False, repr=False)
    """What made them; empty in files from before options were kept, which therefore compare by all else."""

    def to_metadata(self) -> dict[str, str]:
        return {key: str(value) for key, value in dataclasses.asdict(self).items() if key != "options" or value}

    @classmethod
    def from_metadata(cls, values: dict[str, str]) -> "FeatureInfo":
        return cls(
            teacher=values["teacher"],
            layer=values["layer"],
            rate=float(values["rate"]),
            offset=float(values["offset"]),
            mode=values["mode"],
            dim=int(values["dim"]),
            # Files from before there were levels hold frames.
            level=_level(values.get("level", "frame")),
            options=values.get("options", ""),
        )


@dataclass(frozen=True)
class ExpectedFeatures:
    """A training run's expectation of a teacher; ``None`` accepts anything."""

    teacher: str | None = None
    layer: str | None = None
    rate: float | None = None
    mode: str | None = None
    options: TeacherOptions | None = None
    """Those of the teacher that the config describes; its model goes by ``teacher`` where that is given."""

    def differences(self, info: FeatureInfo) -> list[str]:
        """One phrase per fact in which ``info`` differs."""
        wanted = {key: getattr(self, key) for key in ("teacher", "layer", "rate", "mode")}
        problems = [
            f"{key} {getattr(info, key)!r} instead of {value!r}"
            for key, value in wanted.items()
            if value is not None and getattr(info, key) != value
        ]
        if self.options is not None:
            problems += self.options.differences(info, named=self.teacher is not None)
        # A layer may be an option, too.
        return list(dict.fromkeys(problems))


@dataclass(frozen=True)
class ClipFeatures:
    """One clip's features in memory, before writing; shapes as in the module's docstring."""

    features: Tensor
    mask: Tensor
    index: Tensor | None = None


class CachedFeatures:
    """One clip's features, read from disk as they are requested.

    Attributes:
        info: teacher, layer, rate, offset, mode and width.
        num_frames: T.
        smooth: how frames are moved onto other times, see :func:`codec.teachers.features.timing.crop_frames`.
    """

    smooth: bool = False

    def __init__(self, handle: Any, info: FeatureInfo, keys: set[str]):
        self.info, self._handle, self._indexed = info, handle, "index" in keys
        self.num_frames = handle.get_slice("mask").get_shape()[0]

    rate = property(lambda self: self.info.rate, doc="Hz.")
    offset = property(lambda self: self.info.offset, doc="Seconds of frame 0's centre.")
    mode = property(lambda self: self.info.mode)
    level = property(lambda self: self.info.level, doc="``frame`` or ``clip``.")
    features = property(lambda self: self.slice(0, self.num_frames)[0], doc="``(T, D)`` float16.")
    mask = property(lambda self: self.slice(0, self.num_frames)[1], doc="``(T,)`` bool.")

    def slice(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Features ``(last - first, D)`` float16 and mask ``(last - first,)`` of a run of frames."""
        mask = self._handle.get_slice("mask")[first:last].bool()
        rows = self._handle.get_slice("features")
        if not self._indexed or first >= last:
            return rows[first:last], mask
        index = self._handle.get_slice("index")[first:last].long()
        lowest, highest = int(index.min()), int(index.max()) + 1
        return rows[lowest:highest][index - lowest], mask

    def vector(self) -> tuple[Tensor, Tensor]:
        """The one vector ``(D,)`` float16 of a teacher of level ``clip``, and whether it counts, ``()`` bool.

        Raises:
            ValueError: for a teacher of frames.
        """
        if self.info.level != "clip":
            raise ValueError(f"{self.info.teacher} has frames; ask for a slice of them")
        vector = self._handle.get_tensor("features").reshape(self.info.dim)
        counts = self._handle.get_tensor("mask").reshape(()).bool()
        return vector.masked_fill(~counts, 0.0), counts


class FeatureCache:
    """The features that one teacher gave for many clips."""

    def __init__(self, folder: str | Path, teacher_name: str):
        self.folder, self.teacher_name = Path(folder), teacher_name

    def path(self, clip: Clip) -> Path:
        """Path of the clip's features, which may not exist yet."""
        return self.folder / self.teacher_name / f"{clip.name}.safetensors"

    def missing(self, clips: Iterable[Clip]) -> list[Clip]:
        """The clips that have no features yet."""
        return [clip for clip in clips if not self.path(clip).is_file()]

    def read(self, clip: Clip) -> CachedFeatures:
        """The clip's features, lazily.

        Raises:
            CodecError: when the file is missing or damaged.
        """
        handle, info = _load(self.path(clip))
        return CachedFeatures(handle, info, set(handle.keys()))

    def write(self, clip: Clip, features: ClipFeatures, info: FeatureInfo) -> None:
        """Write in one step (temporary file, then rename).

        Raises:
            CodecError: when a feature is not finite in float16, or a clip's vector is not one.
        """
        rows = features.features.to(torch.float16).contiguous()
        if not bool(rows.isfinite().all()):
            raise CodecError(f"{clip.path}: {self.teacher_name} features are not finite in float16")
        tensors = {"features": rows, "mask": features.mask.bool().contiguous()}
        if info.level == "clip" and (rows.numel() != info.dim or features.mask.numel() != 1):
            raise CodecError(
                f"{clip.path}: {self.teacher_name} is of level clip, so one vector of {info.dim} and one mask "
                f"value are due; found features {tuple(rows.shape)} and mask {tuple(features.mask.shape)}"
            )
        if features.index is not None:
            tensors["index"] = features.index.to(torch.int32).contiguous()
        path = self.path(clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(tensors, metadata=info.to_metadata()))

    def check_length(self, clip: Clip, features: CachedFeatures) -> None:
        """Raise a :class:`CodecError` if frames are of another recording, as two data folders may share names."""
        # Rows of mode index belong to no times.
        if features.level == "clip" or features.mode == "index":
            return
        seconds = features.num_frames / features.rate
        if abs(seconds - clip.seconds) > LENGTH_SLACK + SLACK / features.rate:
            raise CodecError(
                f"{self.path(clip)}: has {seconds:.1f} s, but {clip.audio} has {clip.seconds:.1f} s, so it is of "
                f"another recording; delete it and {REMEDY}"
            )

    def check(self, clips: list[Clip], expected: ExpectedFeatures | None = None) -> FeatureInfo:
        """Check every clip's header before the first step.

        Raises:
            CodecError: when clips have no features, or features of another teacher, layer, rate or
                mode than expected, or than the other clips', or of another length than the clip.
        """
        where = self.folder / self.teacher_name
        missing = self.missing(clips)
        if missing:
            raise CodecError(
                f"{where}: {len(missing)} of {len(clips)} clips have no features "
                f"(first: {missing[0].path}); {REMEDY}"
            )
        first: FeatureInfo | None = None
        for clip in clips:
            features = self.read(clip)
            info = features.info
            problems = (expected or ExpectedFeatures()).differences(info)
            if first is not None and info != first:
                agreed = ExpectedFeatures(first.teacher, first.layer, first.rate, first.mode)
                problems = problems or agreed.differences(info) or ["another width, offset or level"]
            elif first is not None:
                problems = problems or changed_options(info.options, first.options)
            if problems:
                raise CodecError(f"{self.path(clip)}: {', '.join(problems)}; {REPLACE}")
            self.check_length(clip, features)
            first = info if info.options or first is None else first
        if first is None:
            raise CodecError(f"{where}: no clips to check; the manifest gave none")
        return first


def _level(text: str) -> Literal["frame", "clip"]:
    levels: dict[str, Literal["frame", "clip"]] = {"frame": "frame", "clip": "clip"}
    if text not in levels:
        raise ValueError(f"level {text!r}")
    return levels[text]


def _load(path: Path) -> tuple[Any, FeatureInfo]:
    try:
        handle = safe_open(path, framework="pt")
        return handle, FeatureInfo.from_metadata(handle.metadata() or {})
    except FileNotFoundError:
        raise CodecError(f"{path}: no such features; {REMEDY}") from None
    except (SafetensorError, OSError) as error:
        raise CodecError(f"{path}: damaged ({error}); delete it and {REMEDY}") from None
    except (KeyError, ValueError):
        raise CodecError(f"{path}: no teacher in its metadata; {REMEDY}") from None
