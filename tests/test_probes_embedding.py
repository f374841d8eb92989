"""Linear probes of vectors: planted classes are found, noise is at chance, and bad input is refused."""

import numpy as np
import pytest

from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes.embedding import EmbeddingProbeConfig, label_of, probe_embedding


def clips(classes=4, each=12):
    return [
        Clip(f"folder{number % 2}/c{number}.wav", 1.0, speaker=f"s{number % classes}", domain="speech")
        for number in range(classes * each)
    ]


def vectors(some, spread, seed=0):
    """A direction for each speaker, and noise of standard deviation ``spread``."""
    means = np.random.default_rng(1).standard_normal((10, 8))
    noise = np.random.default_rng(seed).standard_normal((len(some), 8))
    return np.stack([means[int(clip.speaker[1:])] for clip in some]) + spread * noise


CONFIG = EmbeddingProbeConfig(labels=("speaker",), shots=(1, 5), draws=5)


def accuracies(embed, config=CONFIG):
    return {m.name: m.value for m in probe_embedding(embed, clips(), config).measures}


def test_planted_classes_are_found_and_more_clips_help():
    found = accuracies(lambda some: vectors(some, 0.7))
    assert list(found) == ["speaker_accuracy_1_shot", "speaker_accuracy_5_shot", "speaker_accuracy_full"]
    one, five, full = found.values()
    assert 0.3 < one < five <= full + 0.05 and full > 0.8


def test_noise_is_at_chance():
    found = accuracies(lambda some: np.random.default_rng(3).standard_normal((len(some), 8)))
    assert all(0.1 < value < 0.4 for value in found.values())


def test_a_dimensions_scale_and_offset_do_not_matter():
    scale, offset = np.geomspace(1e-3, 1e3, 8), np.arange(8) * 10
    plain = accuracies(lambda some: vectors(some, 0.7))
    moved = accuracies(lambda some: vectors(some, 0.7) * scale + offset)
    assert {name: pytest.approx(value, abs=0.02) for name, value in plain.items()} == moved


def test_the_same_clips_are_learnt_from_whatever_the_encoder():
    first = probe_embedding(lambda some: vectors(some, 0.7), clips(), CONFIG)
    wider = probe_embedding(lambda some: np.tile(vectors(some, 0.7), 2), clips(), CONFIG)
    for a, b in zip(first.measures, wider.measures, strict=True):
        assert (a.name, a.clips, a.baseline) == (b.name, b.clips, b.baseline)
        assert a.value == pytest.approx(b.value, abs=0.05)


def test_classes_with_too_few_clips_are_left_out():
    some = [*clips(2, 12), Clip("x/rare.wav", 1.0, speaker="s2"), Clip("x/none.wav", 1.0)]

    def embed(given):
        return np.random.default_rng(0).standard_normal((len(given), 3))

    result = probe_embedding(embed, some, EmbeddingProbeConfig(labels=("speaker", "domain"), shots=(20,)))
    assert result.measures[0].name == "speaker_accuracy_full" and result.measures[0].clips == 24
    assert result.measures[0].baseline == 0.5
    assert [skip.reason for skip in result.skipped] == ["no speaker"]
    assert [note.split(":")[0] for note in result.notes] == [
        "speaker_accuracy_20_shot", "domain_accuracy_20_shot", "domain_accuracy_full",
    ]  # fmt: skip


def test_labels_come_from_the_manifest_or_the_folder():
    clip = Clip("a/b/c.wav", 1.0, speaker="s", label="l")
    assert [label_of(clip, label) for label in ("speaker", "source", "label", "language")] == ["s", "a/b", "l", None]


@pytest.mark.parametrize("wrong", [np.zeros((3, 2)), np.zeros(48), np.full((48, 2), np.nan)])
def test_wrong_vectors_are_refused(wrong):
    with pytest.raises(CodecError, match=r"for 48 clips; expected finite vectors \(48, D\)"):
        probe_embedding(lambda some: wrong, clips(), CONFIG)


def test_wrong_settings_are_refused():
    for changes in ({"shots": (0,)}, {"draws": 0}, {"folds": 1}):
        with pytest.raises(CodecError, match="config probe"):
            EmbeddingProbeConfig(**changes)
