"""How much of a speech teacher lies in a model's latent, in its first codebook, and in any codebook at best?

For each view, a linear map to the teacher's standardized features is fitted on four clips of five, and the mean cosine
over frames is printed for the fifth. Next to it stands what clusters of the teacher itself, as many as a codebook has
entries, would reach. A small figure for the latent says that the encoder has not learnt it, a small one for RVQ-1
beside a large one for the latent that the first codebook does not choose by it.

``python recipes/teacher_reach.py manifest=cache/manifests/many_speakers.jsonl root=$DATA features=cache/features``
"""

import sys
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.audio.io import load_audio
from codec.cli.recipe import run_recipe
from codec.data.manifest import Clip, read_manifest
from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.files import load_model
from codec.quantizers.kmeans import cluster_sums, kmeans
from codec.quantizers.rvq import nearest
from codec.teachers.features import FeatureCache
from codec.teachers.features.timing import Crop, crop_frames

_FOLDS = 5
_RIDGE = 1e-3
"""Of the mean of the squared inputs, so that directions without variance do no harm."""


@dataclass(frozen=True)
class TeacherReachConfig:
    """Settings of the measurement."""

    manifest: str
    features: str
    """The folder of codec features."""
    models: tuple[str, ...] = ("default",)
    teacher: str = "sm"
    """Name of the teacher in that folder."""
    root: str | None = None
    """Folder that the manifest's paths are relative to; its own by default."""
    clips: int = 120
    """Number of clips, evenly spread over the manifest."""
    dimensions: int = 64
    """Principal components of the teacher that are clustered."""
    threads: int = 1


@dataclass(frozen=True)
class Frames:
    """Frames of all clips where the teacher has features.

    Attributes:
        views: by name, ``(N, D)``.
        target: ``(N, D')``, standardized.
        held_out: ``(N,)`` bool, those of every fifth clip.
    """

    views: dict[str, Tensor]
    target: Tensor
    held_out: Tensor


@torch.inference_mode()
def main(config: TeacherReachConfig) -> None:
    """Print a line per model, after one of the teacher itself."""
    torch.set_num_threads(config.threads)
    clips = read_manifest(config.manifest)
    clips = clips[:: max(1, len(clips) // config.clips)][: config.clips]
    if config.root is not None:
        clips = [replace(clip, root=config.root) for clip in clips]
    cache = FeatureCache(config.features, config.teacher)
    if len(clips) < _FOLDS or cache.missing(clips):
        raise CodecError(
            f"{config.manifest}: {len(clips)} clips, {len(cache.missing(clips))} of them without features in "
            f"{config.features}/{config.teacher}; at least {_FOLDS} are needed, run codec features"
        )
    for number, name in enumerate(config.models):
        model = load_model(name, "cpu", "torch")
        frames = collect(model, clips, cache)
        if number == 0:
            size = model.quantizer.sizes[0]
            print(f"{size} clusters of the teacher: {cluster_reach(frames, size, config.dimensions):.3f}")
        reached = {view: linear_reach(vectors, frames) for view, vectors in frames.views.items()}
        print(f"{name}: " + ", ".join(f"{view} {value:.3f}" for view, value in reached.items()))


def collect(model: Codec, clips: list[Clip], cache: FeatureCache) -> Frames:
    """The views of a model, and the teacher's features, of whole clips."""
    parts: list[dict[str, Tensor]] = []
    for number, clip in enumerate(clips):
        wav = load_audio(clip.audio, model.sample_rate).wav
        latent = model.encoder.whole(F.pad(wav, (0, -len(wav) % model.hop_length))[None])
        codes = model.quantizer.encode(latent, model.num_codebooks)
        views = {"latent": latent, "RVQ-1": model.quantizer.decode(codes[:, :1]), "all": model.quantizer.decode(codes)}
        crop = Crop(start=0, num_frames=latent.shape[2], hop=model.hop_length, sample_rate=model.sample_rate)
        teacher = crop_frames(cache.read(clip), crop)
        part = {view: vectors[0].T[teacher.mask] for view, vectors in views.items()}
        target = teacher.features[teacher.mask].float()
        held_out = torch.full((len(target),), number % _FOLDS == 0)
        parts.append(part | {"target": target, "held out": held_out})
    joined = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    target, held_out = joined.pop("target"), joined.pop("held out")
    known = target[~held_out]
    return Frames(joined, (target - known.mean(0)) / known.std(0).clamp(min=1e-6), held_out)


def linear_reach(vectors: Tensor, frames: Frames) -> float:
    """Mean cosine, over held-out frames, of the target and its ridge regression on ``vectors (N, D)``."""
    inputs = F.pad(vectors, (0, 1), value=1.0).double()
    known = inputs[~frames.held_out]
    gram = known.T @ known
    gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    weights = torch.linalg.solve(gram, known.T @ frames.target[~frames.held_out].double())
    return mean_cosine(inputs[frames.held_out] @ weights, frames)


def cluster_reach(frames: Frames, count: int, dimensions: int) -> float:
    """The same of the means of ``count`` clusters of the target's principal components."""
    known = frames.target[~frames.held_out]
    axes = torch.linalg.eigh(known.T @ known)[1].flip(1)[:, :dimensions]
    centroids = kmeans(known @ axes, count, 15, torch.Generator().manual_seed(0))
    sizes, sums = cluster_sums(known, nearest(known @ axes, centroids), count)
    means = sums / sizes.clamp(min=1).unsqueeze(1)
    return mean_cosine(means[nearest(frames.target[frames.held_out] @ axes, centroids)].double(), frames)


def mean_cosine(predicted: Tensor, frames: Frames) -> float:
    """Over held-out frames."""
    return float(F.cosine_similarity(predicted, frames.target[frames.held_out].double(), dim=1).mean())


if __name__ == "__main__":
    sys.exit(run_recipe(TeacherReachConfig, main, __doc__))
