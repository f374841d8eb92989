"""Teachers' features and word timestamps for all clips of a manifest: resumable, in batches."""

from codec.align.registry import Aligner
from codec.align.store import AlignmentStore
from codec.align.types import Alignment, Utterance
from codec.audio.io import load_audio
from codec.data import Clip
from codec.errors import CodecError
from codec.jobs.batches import StageReport, run_batches
from codec.teachers.features.cache import REPLACE, ClipFeatures, FeatureCache
from codec.teachers.features.options import changed_options
from codec.teachers.language import is_speech
from codec.teachers.registry import Teacher


def extract_words(clips: list[Clip], aligner: Aligner, store: AlignmentStore, batch_seconds: float) -> StageReport:
    """Time the words of the clips that ``store`` lacks."""
    known = store.read()
    todo = [clip for clip in clips if clip.name not in known]

    def work(batch: list[Clip]) -> None:
        for clip in batch:
            aligner.check_text(clip.text or "")
        store.append(aligner.align([load_utterance(clip, aligner.sample_rate) for clip in batch]))

    report = run_batches(todo, work, batch_seconds, "words")
    report.skipped = len(clips) - len(todo)
    return report


def extract_features(
    clips: list[Clip],
    teacher: Teacher,
    cache: FeatureCache,
    words: dict[str, Alignment],
    batch_seconds: float,
) -> StageReport:
    """Compute the features that ``cache`` lacks. Clips without timed words fail if the teacher needs them.

    Raises:
        CodecError: before work starts, when the cache holds features of another teacher, or the
            teacher cannot do these clips.
    """
    todo = cache.missing(clips)
    missing = {clip.name for clip in todo}
    check_cached(teacher, cache, [clip for clip in clips if clip.name not in missing])
    teacher.prepare([clip for clip in clips if not lacks_words(clip, teacher, words)], words)

    def work(batch: list[Clip]) -> None:
        for clip, features in zip(batch, compute(batch, teacher, words), strict=True):
            cache.write(clip, features, teacher.info)

    report = run_batches(todo, work, batch_seconds, cache.teacher_name)
    report.skipped = len(clips) - len(todo)
    return report


def compute(batch: list[Clip], teacher: Teacher, words: dict[str, Alignment]) -> list[ClipFeatures]:
    """:class:`ClipFeatures` of each clip.

    Raises:
        CodecError: when a clip cannot be read, or lacks words that the teacher needs.
    """
    for clip in batch:
        if lacks_words(clip, teacher, words):
            raise CodecError(f"{clip.path}: no timed words; see why the words stage failed on it")
    return teacher.features([load_utterance(clip, teacher.sample_rate, words) for clip in batch])


def lacks_words(clip: Clip, teacher: Teacher, words: dict[str, Alignment]) -> bool:
    """Whether the teacher lacks word timestamps; clips without speech need none."""
    return teacher.needs_words and is_speech(clip) and clip.name not in words


def check_cached(teacher: Teacher, cache: FeatureCache, clips: list[Clip]) -> None:
    """Refuse to mix two teachers, their layers or other options, or two data folders, in one cache.

    Raises:
        CodecError: naming the first file that differs.
    """
    for clip in clips:
        features = cache.read(clip)
        if features.info != teacher.info:
            raise CodecError(f"{cache.path(clip)}: holds {features.info}, but this run makes {teacher.info}; {REPLACE}")
        changes = changed_options(features.info.options, teacher.info.options)
        if changes:
            raise CodecError(f"{cache.path(clip)}: {', '.join(changes)}; {REPLACE}")
        cache.check_length(clip, features)


def load_utterance(
    clip: Clip, sample_rate: int | None, words: dict[str, Alignment] | None = None
) -> Utterance:
    """The clip with its audio at ``sample_rate`` (``None``: without), and its words.

    Raises:
        CodecError: for a file that :func:`codec.audio.io.load_audio` refuses.
    """
    timed = (words or {}).get(clip.name)
    if sample_rate is None:
        return Utterance(clip, None, timed)
    return Utterance(clip, load_audio(clip.audio, sample_rate).wav, timed)
