"""A teacher's section of a config: where its features come from, what it sees, and what is learned of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from codec.encoders.layers import layer_name
from codec.errors import CodecError
from codec.teachers.features import ExpectedFeatures, FeatureInfo
from codec.teachers.registry import read_options

Axis = Literal["d", "t"]
TranslatorKind = Literal["linear", "conv", "mlp"]
TeacherKind = Literal["speech", "language", "music", "embedding", "labels"]

_DOMAINS: dict[str, tuple[str, ...] | None] = {
    "speech": ("speech",),
    "language": ("speech",),
    "music": ("music",),
    "labels": ("speech",),
    "embedding": None,
}
"""What each kind sees by default, with mixed clips; ``None``: everything."""


@dataclass(frozen=True)
class TeacherSource:
    """One teacher. With `kind` it works on the fly; with `weight` it is distilled, without a loss of its own."""

    kind: TeacherKind | None = None
    """speech | language | music | embedding (any model of audio) | labels (phones)."""
    model: str | None = None
    """Hub id, folder, file.onnx, package.module:function, basic_pitch, ...: see docs/teachers.md."""
    layers: str | int | list[int] | None = None
    """Of a transformers model: avg | last | N | [list], which is their mean."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further options of the kind, as codec features --help lists them: output, level, sample_rate, dim, ..."""
    rate: float | None = None
    """Frames per second of its features; others are refused."""
    domains: tuple[str, ...] | None = None
    """Clips that it sees, by the manifest's domain, and mixed ones; by default those of its kind."""
    timing: Literal["nearest", "smooth"] | None = None
    """Onto the codec's frames: the nearest one in time, or their mean or mixture; by default smooth with a
    kind of audio, else nearest."""
    attach: str = "rvq1"
    """rvq1 | rvq1-K | latent | quantized: vectors of the codec, which a translator compares with the features. output:
    the decoded audio, which the model itself hears as it hears the recording; Whisper only."""
    translator: TranslatorKind = "linear"
    """linear | conv | mlp."""
    axis: Axis = "t"
    """t: cosine over dimensions for each frame; d: cosine over time for each dimension."""
    weight: float | None = None
    """Of the loss distill_NAME that these keys make; null makes none."""
    loss: dict[str, Any] = field(default_factory=dict)
    """Further options of that loss: form, l1_weight, standardize (calibrated by default)."""
    features: str = "cache/features"
    """Cache folder of codec features."""
    name: str | None = None
    """The teacher's name in that cache; its name here by default."""
    extract: dict[str, Any] | None = None
    """What kind, model, layers and options stand for (type, model, ...), where they are not given."""
    teacher: str | None = None
    """Refuse features of another teacher (as the cache names its model), layer or mode; by default those of other
    options than extract or kind say."""
    layer: str | None = None
    mode: str | None = None

    def __post_init__(self) -> None:
        if self.kind is None:
            unused = [key for key in ("model", "layers", "options") if getattr(self, key)]
            if unused:
                raise CodecError(f"config teachers: {', '.join(unused)} without a kind; set kind, e.g. kind: music")
        elif self.extract is not None:
            raise CodecError("config teachers: kind and extract say the same thing; keep one of them")
        elif not self.model and self.kind != "labels":
            raise CodecError(f"config teachers: kind {self.kind} without a model; set model")
        if self.attach == "output" and (self.kind != "speech" or self.layers not in (None, "avg")):
            raise CodecError(
                "config teachers: attach output hears the decoded audio, through a Whisper encoder (kind: speech) and "
                "all of its layers; for the vectors that the decoder is given, set attach: quantized"
            )
        if self.weight is not None and not self.weight >= 0:
            raise CodecError(f"config teachers: weight is {self.weight}; expected a number >= 0")

    @property
    def hears_output(self) -> bool:
        """Whether it hears the decoded audio, and so needs no features of the recordings beforehand."""
        return self.attach == "output"

    @property
    def live(self) -> dict[str, Any] | None:
        """Options of the teacher that computes what the cache lacks; ``None`` where nothing does."""
        if self.kind is None:
            return self.extract
        given = {"model": self.model, "layer": self.layers, "rate": self.rate}
        return {"type": self.kind, **{k: v for k, v in given.items() if v is not None}, **self.options}

    @property
    def seen(self) -> tuple[str, ...] | None:
        """Domains that the teacher sees; ``None``: all."""
        return _DOMAINS.get(self.kind or "") if self.domains is None else self.domains

    @property
    def smooth(self) -> bool:
        """Whether frames are averaged or mixed, instead of the nearest being taken."""
        if self.timing is None:
            return self.kind in ("speech", "music", "embedding")
        return self.timing == "smooth"

    def expected(self, name: str) -> ExpectedFeatures:
        """What the cached features of this teacher, called ``name``, have to be; no teacher is built.

        Raises:
            CodecError: for an unknown type or option.
        """
        layer = self.layer or (None if self.layers is None else layer_name(self.layers))
        live = self.live
        options = None if live is None else read_options(name, live)
        return ExpectedFeatures(self.teacher, layer, self.rate, self.mode, options)


def teacher_losses(
    teachers: Mapping[str, TeacherSource], infos: Mapping[str, FeatureInfo], given: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The losses ``distill_NAME`` that teachers with a weight make, by name: what ``losses`` could say as well.

    Args:
        teachers: of the config.
        infos: what their features are.
        given: the config's own losses.

    Raises:
        CodecError: when the config has such a loss already.
    """
    made = {}
    for name, source in teachers.items():
        if source.weight is None:
            continue
        if f"distill_{name}" in given:
            raise CodecError(f"config losses.distill_{name}: teachers.{name}.weight makes this loss; remove one")
        if source.hears_output:
            heard = {"type": "output_features", "weight": source.weight, "teacher": name, "model": source.model}
            made[f"distill_{name}"] = heard | source.loss
            continue
        options: dict[str, Any] = {
            "weight": source.weight,
            "teacher": name,
            "attach": source.attach,
            "translator": source.translator,
        }
        if infos[name].mode == "labels":
            options |= {"type": "labels"}
        elif infos[name].level == "clip":
            options |= {"type": "distill_clip", "standardize": "calibrated"}
        else:
            options |= {"type": "distill", "axis": source.axis, "standardize": "calibrated"}
        made[f"distill_{name}"] = options | source.loss
    return made


def weighted_teachers(teachers: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of a config's plain section teachers, what tells the losses that it makes from others, by their names."""
    return {
        f"distill_{name}": {"teacher": name, "translator": source.get("translator", "linear")}
        for name, source in teachers.items()
        if source.get("weight") is not None
    }


def needs_calibration(losses: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Teachers whose targets some loss wants centred and scaled by a calibration."""
    calibrated = {name: options for name, options in losses.items() if options.get("standardize") == "calibrated"}
    return {options.get("teacher", name.removeprefix("distill_")) for name, options in calibrated.items()}
