"""Probes of music: which instrument plays, and which note, from a few single notes of each."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from codec.config import to_dict
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes.features import clip_features
from codec.eval.probes.fewshot import DrawsConfig, measure_draws
from codec.eval.probes.registry import probe
from codec.eval.probes.sources import views
from codec.eval.probes.statistics import few_speakers_note
from codec.eval.probes.types import Omitted, ProbeResult, ProbeTask


@probe("notes")
class NotesProbe:
    """Balanced accuracy of instrument and pitch, from ``k`` single notes of each class, over random draws.

    In the manifest, ``speaker`` is the instrument and ``label`` the note. Instruments are learned from one half of
    the pitches and tested on the other, pitches from one half of the instruments and tested on the other: what is
    measured is neither known by heart nor by the other's help. Baselines are one divided by the number of classes.
    """

    @dataclass(frozen=True)
    class Config(DrawsConfig):
        """How few notes are learned from."""

    def __init__(self, config: "NotesProbe.Config"):
        self.config = config

    def check(self, task: ProbeTask) -> None:
        notes = [clip for clip in task.clips if _is_note(clip)]
        shots = max(self.config.shots)
        for what, others, of_class in (("speaker", "label", _instrument), ("label", "speaker", _pitch)):
            classes = {of_class(clip).label for clip in notes}
            groups = {of_class(clip).speaker for clip in notes}
            if len(classes) < 2 or len(groups) < 2 * shots:
                raise CodecError(
                    f"the notes probe needs two or more of `{what}` and {2 * shots} of `{others}` for {shots} shots; "
                    f"found {len(classes)} and {len(groups)} (recipes/notes.py makes such clips)"
                )

    def run(self, task: ProbeTask) -> ProbeResult:
        result = ProbeResult("notes", settings=to_dict(self.config))
        result.skipped += [
            Omitted(clip.name, "no speaker or label") for clip in task.clips if not _is_note(clip)
        ]
        coded = task.code([clip for clip in task.clips if _is_note(clip)], result.skipped)
        result.per_clip = {
            clip.clip.name: {"instrument": clip.clip.speaker, "pitch": clip.clip.label} for clip in coded
        }
        inputs = {view: clip_features(coded, view, task.tokens) for view in views(task.tokens)} if coded else {}
        classes: dict[str, Callable[[Clip], Clip]] = {"instrument": _instrument, "pitch": _pitch}
        for name, of_class in classes.items():
            clips = [dataclasses.replace(clip, clip=of_class(clip.clip)) for clip in coded]
            result.notes += [f"{name}: {note}" for note in few_speakers_note([clip.speaker for clip in clips])]
            measure_draws(f"{name}_accuracy", clips, inputs, self.config, "speaker", task.seed, result)
        return result


def _is_note(clip: Clip) -> bool:
    return bool(clip.speaker and clip.label)


def _instrument(clip: Clip) -> Clip:
    """The class is the instrument; what is held out, the pitch."""
    return dataclasses.replace(clip, label=clip.speaker, speaker=clip.label)


def _pitch(clip: Clip) -> Clip:
    """The class is the note; what is held out, the instrument."""
    return clip
