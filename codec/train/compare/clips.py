"""The clips that scores listen to."""

import dataclasses

from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.eval.clips import read_clips, select
from codec.train.compare.config import ClipsConfig


def open_clips(config: ClipsConfig) -> list[Clip]:
    """Clips of all manifests in name order, thinned evenly to ``max_clips``.

    Raises:
        CodecError: for a manifest or recording that is not there, or a selection without clips.
    """
    clips = [clip for source in config.manifests for clip in read_clips(source)]
    if config.root is not None:
        clips = [dataclasses.replace(clip, root=config.root) for clip in clips]
    clips = select(clips, config.selection)
    if config.max_clips is not None and config.max_clips < len(clips):
        count = max(1, config.max_clips)
        clips = [clips[number * len(clips) // count] for number in range(count)]
    missing = [clip for clip in clips if not clip.audio.is_file()]
    if missing:
        raise CodecError(
            f"{missing[0].audio}: no such recording ({len(missing)} of {len(clips)} are missing)"
        )
    return clips
