"""Control: the language loss tells the right transcript from another clip's, and aligned from unaligned.

The student is as good as one can be: its latent says which word is spoken in a frame, and only the
loss's own head is trained. What it cannot reach then is the target's fault.
"""

import random

import pytest
import torch
from loss_inputs import loss_input
from tiny_teachers import save_bert

from codec.align.types import Alignment, Interval, Utterance
from codec.data import Clip
from codec.data.batch import TeacherFrames
from codec.teachers import build_teacher
from codec.train.losses.registry import LossContext, build_loss

VOCABULARY = ("the", "cat", "sat", "dog", "ran", "far", "away")
WORDS, FRAMES = 6, 100


def speak(count: int) -> list[Utterance]:
    """Clips of 2 s: six random words of 0.2 s each, 0.1 s apart, at 50 frames a second."""
    rng = random.Random(0)
    utterances = []
    for number in range(count):
        text = [rng.choice(VOCABULARY) for _ in range(WORDS)]
        words = tuple(Interval(word, 0.1 + 0.3 * i, 0.3 + 0.3 * i) for i, word in enumerate(text))
        clip = Clip(path=f"{number}.wav", seconds=FRAMES / 50, text=" ".join(text))
        utterances.append(Utterance(clip, None, Alignment(clip.name, words, "test")))
    return utterances


def latents(utterances: list[Utterance]) -> torch.Tensor:
    """``(B, D, T)``: 1 in the row of the word that is spoken in a frame."""
    latent = torch.zeros(len(utterances), len(VOCABULARY), FRAMES)
    for number, utterance in enumerate(utterances):
        for word in utterance.words.intervals:
            start, stop = round(word.start * 50), round(word.end * 50)
            latent[number, VOCABULARY.index(word.label), start:stop] = 1.0
    return latent


def targets(bert: str, mode: str, utterances: list[Utterance]) -> TeacherFrames:
    options = {"type": "language", "model": bert, "layer": "last", "mode": mode}
    teacher = build_teacher("lm", options)
    words = {utterance.clip.name: utterance.words for utterance in utterances}
    teacher.prepare([utterance.clip for utterance in utterances], words)
    found = teacher.features(utterances)
    rows = [f.features if f.index is None else f.features[f.index.long()] for f in found]
    features = torch.zeros(len(found), FRAMES, rows[0].shape[1])
    mask = torch.zeros(len(found), FRAMES, dtype=torch.bool)
    for number, (row, one) in enumerate(zip(rows, found, strict=True)):
        count = min(FRAMES, len(row))
        features[number, :count], mask[number, :count] = row[:count].float(), one.mask[:count]
    return TeacherFrames(features, mask)


def unexplained(frames: TeacherFrames, latent: torch.Tensor) -> float:
    """Language loss on clips that the head was not trained on."""
    torch.manual_seed(0)
    context = LossContext(16_000, latent.shape[1], 4, {"lm": frames.features.shape[2]})
    loss = build_loss("distill_lm", {"attach": "latent"}, context)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    half = len(latent) // 2
    parts = [slice(None, half), slice(half, None)]
    inputs = [
        loss_input(
            latent=latent[part], teachers={"lm": TeacherFrames(frames.features[part], frames.mask[part])}
        )
        for part in parts
    ]
    for _ in range(80):
        optimizer.zero_grad()
        loss(inputs[0]).backward()
        optimizer.step()
    return float(loss(inputs[1]).detach())


@pytest.fixture(scope="module")
def losses(tmp_path_factory) -> dict[str, float]:
    bert = save_bert(tmp_path_factory.mktemp("teachers") / "bert")
    utterances = speak(48)
    latent = latents(utterances)
    return {
        mode: unexplained(targets(bert, mode, utterances), latent)
        for mode in ("aligned", "shuffled", "index")
    }


def test_a_shuffled_transcript_is_measurably_worse_than_the_right_one(losses):
    # The loss lies between 0.313 (cosine 1) and 0.693 (cosine 0).
    assert losses["aligned"] < losses["shuffled"] - 0.05


def test_the_unaligned_pairing_is_measurably_worse_than_the_aligned_one(losses):
    assert losses["aligned"] < losses["index"] - 0.05
