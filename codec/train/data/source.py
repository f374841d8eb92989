"""From the config's data section to crops: manifests, decoded audio, teachers' features."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from codec.data.manifest import Clip, read_manifest
from codec.errors import CodecError
from codec.train.config import DataConfig, TeacherSource
from codec.train.data.store import AudioStore, Progress, open_store
from codec.train.features import ExpectedFeatures, FeatureCache, FeatureInfo


def read_clips(config: DataConfig) -> list[Clip]:
    """Clips of all manifests, thinned evenly to ``max_clips``.

    Raises:
        CodecError: when a manifest is missing, empty or malformed.
    """
    clips = [clip for manifest in config.manifests for clip in read_manifest(manifest)]
    if config.root is not None:
        clips = [dataclasses.replace(clip, root=config.root) for clip in clips]
    if config.max_clips is not None and config.max_clips < len(clips):
        count = max(1, config.max_clips)
        clips = [clips[number * len(clips) // count] for number in range(count)]
    return clips


def open_audio(
    config: DataConfig, clips: list[Clip], sample_rate: int, progress: Progress | None, warn: Callable
) -> AudioStore:
    """The decoded audio.

    Raises:
        CodecError: for missing files, and for bad ones unless the config says to skip them.
    """
    store = open_store(clips, sample_rate, Path(config.cache), progress)
    if store.errors and not config.skip_bad_audio:
        more = f" (and {len(store.errors) - 1} more clips)" if len(store.errors) > 1 else ""
        raise CodecError(f"{store.errors[0]}{more}; or set data.skip_bad_audio=true to leave them out")
    for error in store.errors:
        warn(f"left out: {error}")
    return store


def open_features(
    sources: dict[str, TeacherSource], store: AudioStore
) -> tuple[dict[str, FeatureCache], dict[str, FeatureInfo]]:
    """Caches by teacher name and what they hold, checked for every clip that has audio.

    Raises:
        CodecError: for missing features, or those of another teacher, layer, rate or mode.
    """
    used = [clip for clip, length in zip(store.clips, store.lengths, strict=True) if length]
    caches = {name: FeatureCache(source.features, name) for name, source in sources.items()}
    infos = {
        name: caches[name].check(
            used, ExpectedFeatures(source.teacher, source.layer, source.rate, source.mode)
        )
        for name, source in sources.items()
    }
    return caches, infos
