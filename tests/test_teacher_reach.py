"""The recipe that asks how much of a teacher a model's latent and its first codebook have learnt."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import make_speech, make_tiny_model

from codec.data.manifest import Clip, write_manifest
from codec.errors import CodecError
from codec.teachers.features import FeatureCache
from codec.teachers.features.cache import ClipFeatures, FeatureInfo

RECIPE = runpy.run_path(str(Path(__file__).parent.parent / "recipes" / "teacher_reach.py"))
INFO = FeatureInfo(teacher="toy", layer="1", rate=50.0, offset=0.01, mode="speech", dim=5)


@pytest.fixture
def taught(tmp_path):
    """A model, clips, and a cache with two teachers: a linear map of its latent, and noise."""
    model, generator = make_tiny_model(), torch.Generator().manual_seed(0)
    mapping = torch.randn(8, 5, generator=generator)
    clips = []
    for number in range(5):
        wav = make_speech(2.0)[number * 2_000 : number * 2_000 + 19_200]
        soundfile.write(tmp_path / f"{number}.wav", wav, model.sample_rate, subtype="FLOAT")
        clips.append(Clip(f"{number}.wav", 1.2, root=str(tmp_path)))
        latent = model.encoder(torch.from_numpy(wav)[None])[0][0].T
        mask = torch.ones(len(latent), dtype=torch.bool)
        for name, features in (("map", latent @ mapping), ("noise", torch.randn(len(latent), 5, generator=generator))):
            FeatureCache(tmp_path / "features", name).write(clips[-1], ClipFeatures(features, mask), INFO)
    return model, clips, tmp_path


def test_a_map_of_the_latent_is_reached_from_it_and_less_from_codes_and_noise_not_at_all(taught):
    model, clips, folder = taught
    frames = RECIPE["collect"](model, clips, FeatureCache(folder / "features", "map"))
    reached = {view: RECIPE["linear_reach"](vectors, frames) for view, vectors in frames.views.items()}
    assert reached["latent"] > reached["all"] > reached["RVQ-1"] + 0.02 > 0.2
    assert reached["latent"] == pytest.approx(1.0, abs=1e-3)
    noise = RECIPE["collect"](model, clips, FeatureCache(folder / "features", "noise"))
    assert abs(RECIPE["linear_reach"](noise.views["latent"], noise)) < 0.2
    # As many clusters as frames are the frames themselves, of which the held-out ones are not.
    assert 0.3 < RECIPE["cluster_reach"](frames, 16, 5) < 1.0


def test_clips_without_features_are_named_before_work_starts(taught):
    _, clips, folder = taught
    write_manifest(folder / "clips.jsonl", [replace(clip, root=None) for clip in clips])
    config = RECIPE["TeacherReachConfig"](
        manifest=str(folder / "clips.jsonl"), features=str(folder / "features"), teacher="lm", root=str(folder)
    )
    with pytest.raises(CodecError, match=r"clips\.jsonl: 5 clips, 5 of them without features in .*; .* codec features"):
        RECIPE["main"](config)
