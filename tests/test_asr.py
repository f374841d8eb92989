"""The loss ctc: texts as labels, the head, and what of a run it trains."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from loss_inputs import CONTEXT, quantizer_output
from safetensors import safe_open
from training_runs import run_config, write_corpus

import codec
from codec.asr.alphabet import Alphabet, frames_needed
from codec.asr.head import CtcHead, CtcHeadConfig, ctc_of_clips
from codec.data.batch import Batch
from codec.errors import CodecError
from codec.settings import read_config
from codec.train.config import TrainConfig
from codec.train.losses.registry import build_loss
from codec.train.trainer import Trainer
from codec.train.types import LossInput

SMALL = {"hidden": 8, "layers": 1, "dropout": 0.0}


def inputs(latent, lengths, texts):
    mask = torch.arange(latent.shape[2]) < torch.tensor(lengths).unsqueeze(1)
    wav = torch.zeros(len(latent), latent.shape[2] * 320)
    return LossInput(wav, wav, Batch(wav, mask, texts=tuple(texts)), quantizer_output(latent))


def make_loss(**options):
    torch.manual_seed(0)
    return build_loss("ctc", {"head": SMALL, **options}, CONTEXT)


def latents(batch=2, frames=12, seed=0):
    return torch.randn(batch, 3, frames, generator=torch.Generator().manual_seed(seed))


def test_labels_are_characters_without_case_and_punctuation():
    alphabet = Alphabet("abc '")
    assert alphabet.labels("Ab, c!") == [1, 2, 4, 3]
    assert alphabet.size == 6
    # No words, a letter that is not known, a number that may be read in two ways.
    assert [alphabet.labels(text) for text in (None, "", "...", "abd", "a 1")] == [None] * 5
    for wrong in ("", "aa"):
        with pytest.raises(CodecError, match="config alphabet: expected different characters"):
            Alphabet(wrong)


@given(st.text("abc ", min_size=1).filter(str.strip))
def test_the_fewest_frames_spell_the_text_and_one_less_cannot(text):
    alphabet = Alphabet("abc ")
    labels = alphabet.labels(text)
    spelled = []
    for label in labels:
        spelled += [0, label] if spelled and spelled[-1] == label else [label]
    assert len(spelled) == frames_needed(labels)
    assert alphabet.text(spelled) == " ".join(text.split())
    scores = torch.zeros(2, len(spelled), 5).log_softmax(dim=2)
    found = ctc_of_clips(scores, torch.tensor([len(spelled), len(spelled) - 1]), [labels, labels], [True, True])
    assert found.counts.tolist() == [True, False] and found.skipped == 1
    # Torch agrees that the text has a probability there, and none with a frame less.
    exact = F.ctc_loss(
        scores.transpose(0, 1), torch.tensor([labels, labels]), torch.tensor([len(spelled), len(spelled) - 1]),
        torch.tensor([len(labels)] * 2), reduction="none",
    )  # fmt: skip
    assert torch.isfinite(exact[0]) and (len(spelled) == 1 or torch.isinf(exact[1]))


def test_a_hand_case():
    # Two frames, one label: a-a, a-blank, blank-a.
    scores = torch.tensor([[[0.6, 0.4], [0.3, 0.7]]]).log()
    found = ctc_of_clips(scores, torch.tensor([2]), [[1]], [True])
    assert found.values.item() == pytest.approx(-math.log(0.4 * 0.7 + 0.4 * 0.3 + 0.6 * 0.7))


def test_the_loss_is_the_mean_over_clips_of_torchs_loss_for_each_character():
    module, latent = make_loss(), latents()
    module.eval()
    value = module(inputs(latent, [12, 9], ["a cab", "bad"]))
    scores = module.head(latent.transpose(1, 2), torch.tensor([12, 9])).transpose(0, 1)
    labels = [module.alphabet.labels(text) for text in ("a cab", "bad")]
    exact = F.ctc_loss(scores, torch.tensor(labels[0] + labels[1]), torch.tensor([12, 9]), torch.tensor([5, 3]))
    assert value.item() == pytest.approx(exact.item(), rel=1e-6)


@pytest.mark.parametrize("options", [{}, {"head": {**SMALL, "layers": 0}}, {"head": {**SMALL, "repeat": 2}}])
def test_padding_changes_nothing(options):
    module, latent = make_loss(**options).eval(), latents(1)
    alone = module(inputs(latent, [12], ["a cab"]))
    padded = torch.cat([latent, torch.full((1, 3, 7), 9.0)], dim=2)
    torch.testing.assert_close(module(inputs(padded, [12], ["a cab"])), alone)
    other = torch.cat([padded, torch.randn(1, 3, 19)])
    torch.testing.assert_close(module(inputs(other, [12, 19], ["a cab", None])), alone)


def test_what_cannot_be_learned_is_counted_and_not_learned():
    module = make_loss()
    texts = ["a cab", None, "nine hundred letters in a dozen frames", "añb", "!"]
    latent = latents(5).requires_grad_()
    value = module(inputs(latent, [12] * 5, texts))
    assert {name: fact.item() for name, fact in module.facts.items()} == {"texts": 1, "skipped": 3}
    value.backward()
    assert latent.grad[0].abs().sum() > 0 and latent.grad[1:].abs().sum() == 0
    nothing = module(inputs(latents(5), [12] * 5, [None] * 5))
    assert nothing.item() == 0
    nothing.backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    # A batch that was made without texts.
    assert module(inputs(latents(2), [12, 12], [])).item() == 0


@pytest.mark.parametrize("attach", ["latent", "rvq1", "rvq1-2", "quantized"])
def test_the_gradient_reaches_latent_and_head_at_every_attach_point(attach):
    module, latent = make_loss(attach=attach), latents().requires_grad_()
    module(inputs(latent, [12, 12], ["a cab", "bad"])).backward()
    assert latent.grad.abs().sum() > 0
    assert all(parameter.grad.abs().sum() > 0 for name, parameter in module.named_parameters() if "lstm" not in name)


def test_a_head_learns_to_read_what_is_planted():
    torch.manual_seed(0)
    module = CtcHead(4, 4, CtcHeadConfig(hidden=16, layers=1, dropout=0.0))
    optimizer = torch.optim.Adam(module.parameters(), 0.02)
    alphabet, spoken = Alphabet("abc"), [torch.randint(1, 4, (5,)) for _ in range(8)]
    # Each letter lasts two frames, with a pause after it.
    frames = torch.stack([F.one_hot(F.pad(t[:, None].expand(-1, 2), (0, 1)).flatten(), 4).float() for t in spoken])
    lengths, labels = torch.full((8,), 15), [t.tolist() for t in spoken]
    for _ in range(120):
        optimizer.zero_grad()
        ctc_of_clips(module(frames, lengths), lengths, labels, [True] * 8).values.mean().backward()
        optimizer.step()
    read = module(frames, lengths).argmax(dim=2)
    assert [alphabet.text(row.tolist()) for row in read] == ["".join("abc"[i - 1] for i in t) for t in labels]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """The third clip is longer than a crop."""
    return write_corpus(tmp_path_factory.mktemp("data"), (0.3, 0.4, 1.3), text="a cab")


def trainer(folder, manifest, **changes):
    config = read_config(
        TrainConfig,
        "stable_ft",
        [
            f"output={folder / 'run'}", f"data.manifests=[{manifest}]", f"data.cache={folder / 'cache'}",
            "data.crop_frames=24", "data.batch_size=6", "max_steps=10", "log_every=1", "tracker=none",
            f"losses.ctc.head={json.dumps(SMALL)}", *(f"{key}={value}" for key, value in changes.items()),
        ],
    )  # fmt: skip
    return Trainer(config)


def test_the_shipped_recipe_trains_head_and_encoder_and_saves_the_head(tmp_path, manifest):
    run = trainer(tmp_path, manifest)
    model = run.task.parts.state.generator.codec
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    head = {name: tensor.clone() for name, tensor in run.task.parts.state.objective.named_parameters()}
    run.run(until=1)
    assert all(torch.equal(tensor, start[name]) for name, tensor in model.state_dict().items())
    later = trainer(tmp_path, manifest, resume="true")
    later.run(until=3)
    state = later.task.parts.state
    moved = {name for name, t in state.generator.codec.state_dict().items() if not torch.equal(t, start[name])}
    assert moved and all(name.startswith("encoder.") for name in moved)
    assert not any(name.startswith("encoder.backbone.embed.") for name in moved)
    assert all(not torch.equal(value, head[name]) for name, value in state.objective.named_parameters())
    with safe_open(tmp_path / "run/translators.safetensors", "pt") as file:
        assert json.loads(file.metadata()["ctc"])["attach"] == "rvq1"
        torch.testing.assert_close(file.get_tensor("ctc.head.output.weight"), state.objective.losses["ctc"].head.output.weight.detach())
    assert not any("head" in name for name in codec.load(tmp_path / "run/export", "cpu").state_dict())
    # Crops of the long clip have no text.
    records = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert sum(r["texts/ctc"] for r in records) < 6 * len(records) and all(r["skipped/ctc"] == 0 for r in records)


def test_texts_are_of_whole_clips(tmp_path, manifest):
    batches = trainer(tmp_path, manifest).task.parts.batches
    plans = [batches.planner.plan(step, slot) for step in range(8) for slot in batches.slots]
    texts = [text for step in range(8) for text in batches.batch(step).texts]
    assert texts == [None if plan.clip == 2 else "a cab" for plan in plans]
    assert {plan.clip for plan in plans} == {0, 1, 2}


def test_the_shipped_recipe_makes_what_can_be_merged():
    config = read_config(TrainConfig, "stable_ft")
    assert {"quantizer", "decoder"} <= set(config.freeze) and config.heads_first == 0.1
    assert config.schedule.kind == "tri_stage" and config.schedule.floor == 0
    assert codec.load("default", "cpu").config == config.model


def test_texts_cannot_be_recorded(tmp_path, manifest):
    with pytest.raises(CodecError, match="the loss ctc cannot be recorded"):
        run_config(tmp_path, manifest, cuda_graphs=True, losses={"read": {"type": "ctc", "weight": 1.0}}, discriminators={})


def test_wrong_settings_are_refused():
    with pytest.raises(CodecError, match=r"losses.ctc.attach: 'rvq2' is no attach point"):
        make_loss(attach="rvq2")
    with pytest.raises(CodecError, match="config head: hidden and repeat must be >= 1"):
        make_loss(head={"hidden": 0})
