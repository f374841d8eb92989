"""The teacher's vectors of all clips: computed once, cached, and brought to one scale."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.data import Clip
from codec.distilling.config import Normalization
from codec.errors import CodecError
from codec.teachers import build_teacher
from codec.teachers.features import FeatureCache, FeatureInfo
from codec.teachers.features.extract import extract_features
from codec.teachers.teaching import TeacherSource

DEFAULT_NAME = "teacher"
_BATCH_SECONDS = 60.0


@dataclass(frozen=True)
class Vectors:
    """What a teacher says about clips.

    Attributes:
        values: ``(N, D)`` float32 as they were extracted.
        mask: ``(N,)`` bool; false where the teacher has nothing to say.
        info: teacher, layer and width.
    """

    values: Tensor
    mask: Tensor
    info: FeatureInfo


def read_vectors(source: TeacherSource, clips: list[Clip]) -> Vectors:
    """Vectors of all clips, from the cache, computed first where it lacks some and ``source.extract`` is set.

    Raises:
        CodecError: for missing features, those of another teacher than ``source`` says or of frames, and
            when the teacher fails on a clip.
    """
    cache = FeatureCache(source.features, source.name or DEFAULT_NAME)
    expected = source.expected("teacher")
    if source.extract is not None and cache.missing(clips):
        _extract(source, cache, clips)
    info = cache.check(clips, expected)
    if info.level != "clip":
        raise CodecError(
            f"{cache.folder / cache.teacher_name}: holds frames, not one vector for a clip; set teacher.extract to "
            "{type: pooled, of: {...}}, and another teacher.name"
        )
    vectors, mask = zip(*(cache.read(clip).vector() for clip in clips), strict=True)
    return Vectors(torch.stack(vectors).float(), torch.stack(mask), info)


def _extract(source: TeacherSource, cache: FeatureCache, clips: list[Clip]) -> None:
    teacher = build_teacher("teacher", source.extract or {})
    if teacher.needs_words:
        raise CodecError("teacher.extract: this teacher needs words with times; run codec features first")
    report = extract_features(clips, teacher, cache, {}, _BATCH_SECONDS)
    if report.failures:
        more = f" (and {len(report.failures) - 1} more clips)" if len(report.failures) > 1 else ""
        raise CodecError(f"{report.failures[0]}{more}; the teacher must say something about every clip")


class TargetScale:
    """Brings each dimension of a teacher to mean 0 and variance 1 over the training clips.

    Vectors that share a large part look alike by their cosine: a student that says the same of every clip is
    then nearly right (the constant predictor).

    Attributes:
        mean, deviation: ``(D,)``, applied to vectors.
        constant: ``(D,)``, the direction whose mean cosine with the scaled training vectors is largest.
    """

    def __init__(self, vectors: Tensor, normalization: Normalization):
        self.mean = torch.zeros(vectors.shape[1])
        self.deviation = torch.ones(vectors.shape[1])
        if normalization != "none":
            self.mean = vectors.mean(dim=0)
        if normalization == "standardize":
            self.deviation = (vectors.std(dim=0, unbiased=False).square() + 1e-8).sqrt()
        self.constant = F.normalize(F.normalize(self(vectors), dim=1).mean(dim=0), dim=0)

    def __call__(self, vectors: Tensor) -> Tensor:
        """``(B, D)`` to ``(B, D)``."""
        return (vectors - self.mean) / self.deviation

    def gains(self, student: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Mean cosine of student and target ``(B, D)``, that of the constant predictor, and the difference."""
        cosine = F.cosine_similarity(student, target, dim=1).mean()
        constant = (F.normalize(target, dim=1) @ self.constant.to(target.device)).mean()
        return {"cosine_similarity": cosine, "constant": constant, "gain": cosine - constant}

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "deviation": self.deviation, "constant": self.constant}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        self.mean, self.deviation, self.constant = (tensors[n] for n in ("mean", "deviation", "constant"))
