"""Crops from the config's data section: manifests, decoded audio, teachers' features."""

from collections.abc import Callable
from pathlib import Path

from codec.align.registry import AlignerConfig, build_aligner
from codec.align.store import AlignmentStore
from codec.console import print_note
from codec.data.corpus import CorpusConfig, collect
from codec.data.loading.config import DataConfig
from codec.data.manifest import Clip, read_manifest, thin
from codec.data.store import AudioStore, Progress, open_store
from codec.encoders.hub import teacher_id
from codec.errors import CodecError
from codec.teachers import build_teacher
from codec.teachers.features import FeatureCache
from codec.teachers.features.extract import extract_words
from codec.teachers.features.live import LiveFeatures
from codec.teachers.features.view import TeacherView, Unextracted, clips_seen
from codec.teachers.language import is_speech
from codec.teachers.teaching import TeacherSource


def training_clips(config: DataConfig) -> list[Clip]:
    """Clips of all manifests, thinned evenly to ``max_clips``.

    Raises:
        CodecError: when a manifest is missing, empty or malformed.
    """
    _check_sources(config)
    return thin([clip for source in config.manifests for clip in _read_source(source, config.root)], config.max_clips)


def _check_sources(config: DataConfig) -> None:
    """The shipped configs name the data they were made for: say which settings to give for others."""
    missing = [source for source in config.manifests if not Path(source).exists()]
    if missing:
        raise CodecError(
            f"data.manifests: no such manifest or folder {missing[0]}; give your own, which codec prepare writes: "
            "data.root=null data.manifests='[train.jsonl]'"
        )
    if config.root is not None and not Path(config.root).is_dir():
        raise CodecError(
            f"data.root: no such folder {config.root}; give the folder in which the manifests' paths begin, or "
            "data.root=null where that is each manifest's own"
        )


def _read_source(source: str, root: str | None) -> list[Clip]:
    """Clips of a manifest, whose paths begin in ``root``, or of a folder, which has no other root than itself."""
    if not Path(source).is_dir():
        return read_manifest(source, root)
    # Damage is found when the audio is decoded; looking for it here would read everything twice.
    output = str(Path(source) / "manifest.jsonl")
    corpus = collect(CorpusConfig(source=source, output=output, kind="folder", verify=False))
    for note in [*corpus.notes, *(f"skipped: {path}: {why}" for path, why in corpus.skipped)]:
        print_note(f"note: {note}")
    return corpus.clips


def open_audio(
    config: DataConfig,
    clips: list[Clip],
    sample_rate: int,
    progress: Progress | None,
    warn: Callable[[str], None],
) -> AudioStore:
    """The decoded audio.

    Raises:
        CodecError: for missing files, and for bad ones unless the config skips them.
    """
    store = open_store(clips, sample_rate, Path(config.cache), progress)
    if store.errors and not config.skip_bad_audio:
        more = f" (and {len(store.errors) - 1} more clips)" if len(store.errors) > 1 else ""
        raise CodecError(f"{store.errors[0]}{more}; or set data.skip_bad_audio=true to leave them out")
    for error in store.errors:
        warn(f"skipped: {error}")
    return store


def open_features(
    teachers: dict[str, TeacherSource], words: AlignerConfig | None, store: AudioStore
) -> dict[str, TeacherView]:
    """Where each teacher's features come from, checked for every clip with audio that it sees.

    Raises:
        CodecError: for missing features, those of another teacher, layer, rate or mode or of other options, or a
            domain without clips.
    """
    used = [clip for clip, length in zip(store.clips, store.lengths, strict=True) if length]
    if teachers:
        _check_names(used)
    views = {}
    for name, source in teachers.items():
        seen = clips_seen(name, source.seen, used)
        if source.hears_output:
            unextracted = Unextracted(teacher_id(source.model or ""))
            views[name] = TeacherView(unextracted, unextracted.info, source.seen, smooth=False)
            continue
        cache = FeatureCache(source.features, source.name or name)
        live = source.live is not None and cache.missing(seen)
        features = _live(name, source, words, cache, seen) if live else cache
        views[name] = TeacherView(features, features.check(seen, source.expected(name)), source.seen, source.smooth)
    return views


def _check_names(clips: list[Clip]) -> None:
    """Raise a :class:`CodecError` when a cache of features would take one clip for another."""
    places: dict[str, Path] = {}
    for clip in clips:
        other = places.setdefault(clip.name, clip.audio)
        if other != clip.audio:
            raise CodecError(
                f"{clip.name}: two clips of this name, {other} and {clip.audio}, would share their features; "
                "make a manifest in a folder above both, so that their paths differ"
            )


def _live(
    name: str, source: TeacherSource, words: AlignerConfig | None, cache: FeatureCache, clips: list[Clip]
) -> LiveFeatures:
    """Load the teacher; time the words now if it needs them, since that takes a model of its own."""
    teacher = build_teacher(name, source.live or {})
    if not teacher.needs_words:
        return LiveFeatures(cache, teacher)
    if words is None:
        raise CodecError(f"teachers.{name} needs words with times; set words.type and words.model")
    times = AlignmentStore(Path(source.features) / "words" / f"{words.name}.jsonl", "words")
    known = times.read()
    spoken = [clip for clip in clips if is_speech(clip)]
    if any(clip.name not in known for clip in spoken):
        extract_words(spoken, build_aligner(words), times, batch_seconds=120.0)
    return LiveFeatures(cache, teacher, times.read())
