"""Features on the fly: computed when first requested, and kept in the cache."""

from codec.align.types import Alignment
from codec.data import Clip
from codec.errors import CodecError
from codec.teachers.features.cache import CachedFeatures, ExpectedFeatures, FeatureCache, FeatureInfo
from codec.teachers.features.extract import check_cached, compute, lacks_words
from codec.teachers.registry import Teacher


class LiveFeatures:
    """Stands in for a :class:`FeatureCache` where nothing was extracted beforehand.

    The first epoch pays for the teacher, the later ones read. Word timestamps are not recognised on the
    fly: a teacher that needs them takes them from ``words``.
    """

    def __init__(self, cache: FeatureCache, teacher: Teacher, words: dict[str, Alignment] | None = None):
        self.cache, self.teacher, self._words = cache, teacher, words or {}

    def check(self, clips: list[Clip], expected: ExpectedFeatures | None = None) -> FeatureInfo:
        """The same as :meth:`FeatureCache.check`, except that missing features are no error.

        Raises:
            CodecError: for other features than expected, or clips without the words they need.
        """
        missing = {clip.name for clip in self.cache.missing(clips)}
        check_cached(self.teacher, self.cache, [clip for clip in clips if clip.name not in missing])
        problems = (expected or ExpectedFeatures()).differences(self.teacher.info)
        if problems:
            raise CodecError(f"teacher {self.cache.teacher_name}: {', '.join(problems)}")
        untimed = [clip for clip in clips if lacks_words(clip, self.teacher, self._words)]
        if untimed:
            raise CodecError(
                f"{untimed[0].path}: {len(untimed)} clips have no timed words; run codec features"
            )
        self.teacher.prepare(clips, self._words)
        return self.teacher.info

    def read(self, clip: Clip) -> CachedFeatures:
        """The clip's features, computed if the cache lacks them."""
        if self.cache.missing([clip]):
            (features,) = compute([clip], self.teacher, self._words)
            self.cache.write(clip, features, self.teacher.info)
        return self.cache.read(clip)
