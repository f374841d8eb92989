"""Types that the parts of evaluation exchange."""

from dataclasses import dataclass, field

import numpy as np

from codec.data.manifest import Clip

SCORING_RATE = 16_000
"""Hz at which every pair is scored: the rate that PESQ-WB, ViSQOL's speech mode and DNSMOS expect."""


class Skip(Exception):
    """A clip that cannot be scored, with the reason; never an error of the run."""


@dataclass(frozen=True)
class Coded:
    """A system's result for one clip.

    Attributes:
        wav: ``(T,)`` float32 at ``sample_rate``.
        sample_rate: Hz.
        bits: size of the coded clip without container; ``None`` if unknown.
        encode_seconds: computing time, ``None`` where it was not measured.
        decode_seconds: likewise.
        codes: ``(K, F)`` integers of a token codec, else ``None``.
        codebook_sizes: entries of each of the K codebooks, where they are known.
    """

    wav: np.ndarray
    sample_rate: int
    bits: float | None = None
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    codes: np.ndarray | None = None
    codebook_sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Pair:
    """A reference and an output, delay removed, equally long.

    Attributes:
        clip: the manifest's entry.
        reference: ``(T,)`` float32 at :data:`SCORING_RATE`.
        output: ``(T,)`` likewise.
    """

    clip: Clip
    reference: np.ndarray
    output: np.ndarray


@dataclass(frozen=True)
class Row:
    """One measure of one system on one clip: values, or the reason why there are none."""

    key: str
    """Hash of all that the values depend on."""
    system: str
    clip: str
    measure: str
    values: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """Text in addition to the values, such as the recognised words."""
    skipped: str | None = None


def clip_signature(clip: Clip) -> str:
    """Place, size and time of a clip's recording: what is kept of it counts as long as they are the same."""
    if not clip.audio.is_file():
        return f"{clip.name} missing"
    stat = clip.audio.stat()
    return f"{clip.audio.resolve()} {stat.st_size} {stat.st_mtime_ns}"
