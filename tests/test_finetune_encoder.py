"""codec finetune-encoder: tiny random speech encoders, from the first step to the merge with their base."""

import json

import pytest
import torch
import transformers
from safetensors import safe_open
from tiny_teachers import CONV, SMALL
from training_runs import write_corpus

import codec
from codec.cli.app import main
from codec.config import from_dict
from codec.errors import CodecError
from codec.finetuning.config import EncoderConfig
from codec.model.lineage import read_base
from codec.train.checkpoint import list_checkpoints, read_checkpoint
from codec.train.trainer import Trainer

KINDS = {
    "hubert": (transformers.HubertConfig, transformers.HubertModel, {}),
    "wav2vec2": (
        transformers.Wav2Vec2Config,
        transformers.Wav2Vec2Model,
        {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
    ),
    "wavlm": (transformers.WavLMConfig, transformers.WavLMModel, {}),
}
STEPS = 10
HELD = 2


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with ``train.jsonl`` and one encoder of each kind."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, (0.5, 0.4, 0.6, 0.3), text="a cab")
    for kind, (config_class, model_class, changes) in KINDS.items():
        torch.manual_seed(0)
        model = model_class(config_class(**{**SMALL, **CONV, "vocab_size": 4, **changes}))
        model.save_pretrained(folder / kind)
        transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder / kind)
    return folder


def config(corpus, output, kind="hubert", **changes):
    values = {
        "output": str(output),
        "encoder": str(corpus / kind),
        "data": {"manifests": [str(corpus / "train.jsonl")], "cache": str(corpus / "cache"), "batch_size": 2},
        "head": {"hidden": 8, "layers": 1},
        "heads_first": HELD / STEPS,
        "optimizer": {"lr": 1e-2},
        "max_steps": STEPS,
        "checkpoint_every": 100,
        "log_every": 1,
        "tracker": "none",
        **changes,
    }
    return from_dict(EncoderConfig, values)


def hidden(model):
    wav = torch.randn(1, 3200, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.eval()(wav).last_hidden_state


def final(folder):
    return read_checkpoint(list_checkpoints(folder / "checkpoints")[-1]).parts


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_loads_and_is_merged_with_its_base(corpus, tmp_path, kind):
    Trainer(config(corpus, tmp_path / "run", kind)).run(until=4)
    base = transformers.AutoModel.from_pretrained(corpus / kind)
    export = tmp_path / "run/export"
    tuned = transformers.AutoModel.from_pretrained(export)
    assert type(tuned) is type(base) and tuned.config.to_dict() == {**base.config.to_dict(), **loaded_from(tuned)}
    assert transformers.AutoFeatureExtractor.from_pretrained(export).do_normalize
    moved = {n for n, t in tuned.state_dict().items() if not torch.equal(t, base.state_dict()[n])}
    assert any(name.startswith("encoder.") for name in moved)
    assert not any(name.startswith("feature_extractor.") for name in moved)
    assert read_base(export) is not None
    merged = codec.merge(corpus / kind, {export: 0.25}, tmp_path / "merged")
    assert not merged.report.forced
    between = hidden(transformers.AutoModel.from_pretrained(tmp_path / "merged"))
    assert (between - hidden(base)).abs().mean() < (hidden(tuned) - hidden(base)).abs().mean()
    other = next(name for name in KINDS if name != kind)
    with pytest.raises(CodecError):
        codec.merge(corpus / other, {export: 0.25}, tmp_path / "wrong")
    with safe_open(tmp_path / "run/head.safetensors", "pt") as file:
        assert json.loads(file.metadata()["ctc"])["alphabet"].startswith(" '")
        assert file.get_tensor("output.weight").shape[0] == 1 + len(" 'abcdefghijklmnopqrstuvwxyzßäöü")


def loaded_from(model):
    """Keys that saving and loading write themselves."""
    return {key: model.config.to_dict().get(key) for key in ("_name_or_path", "transformers_version", "dtype", "architectures")}


def test_the_head_learns_first_and_the_front_never(corpus, tmp_path):
    run = Trainer(config(corpus, tmp_path / "run"))
    network = run.task.network
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    run.run(until=HELD)
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, start[name])}
    assert moved == {name for name, _ in network.named_parameters() if name.startswith("head.")}
    later = Trainer(config(corpus, tmp_path / "run", resume=True))
    later.run(until=HELD + 2)
    moved = {n for n, t in later.task.network.state_dict().items() if not torch.equal(t, start[n])}
    trained = {n for n, p in later.task.network.named_parameters() if p.requires_grad}
    # No spectrum is masked, so the vector for it has no gradient.
    assert moved == trained - {"model.masked_spec_embed"}
    assert not any(name.startswith("model.feature_extractor.") for name in trained)


def test_a_resumed_run_equals_an_uninterrupted_one(corpus, tmp_path):
    Trainer(config(corpus, tmp_path / "whole")).run(until=4)
    Trainer(config(corpus, tmp_path / "parts")).run(until=2)
    torch.rand(7)
    Trainer(config(corpus, tmp_path / "parts", resume=True)).run(until=4)
    whole, parts = final(tmp_path / "whole"), final(tmp_path / "parts")
    for part, tensors in whole.items():
        assert all(torch.equal(value, parts[part][name]) for name, value in tensors.items()), part


def test_a_clip_is_heard_alike_in_every_batch(corpus, tmp_path):
    task = Trainer(config(corpus, tmp_path / "run")).task
    network, batch = task.network.eval(), task.batches.batch(0)
    short, long = torch.randn(4000), torch.randn(9000)
    alone = network([short], batch.labels[:1], False).values
    both = network([short, long], batch.labels[:1] * 2, False).values
    torch.testing.assert_close(both[:1], alone)
    # What users hear from the exported encoder is what the head was given.
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    values = extractor(short.numpy(), sampling_rate=16_000, return_tensors="pt")["input_values"]
    with torch.no_grad():
        torch.testing.assert_close(network.model(values).last_hidden_state[0], network._frames(short), rtol=1e-4, atol=1e-5)
        assert network.num_frames(4000) == len(network._frames(short))


def test_clips_that_cannot_be_learned_are_left_out_and_counted(corpus, tmp_path):
    lines = (corpus / "train.jsonl").read_text().splitlines()
    texts = ["a cab", None, "añb", "letters beyond number"]
    written = [json.dumps({**json.loads(a), "text": b}) for a, b in zip(lines, texts, strict=True)]
    (corpus / "other.jsonl").write_text("\n".join(written) + "\n")
    data = {"manifests": [str(corpus / "other.jsonl")], "cache": str(corpus / "cache"), "batch_size": 2}
    task = Trainer(config(corpus, tmp_path / "run", data=data)).task
    assert task.skipped == {
        "without a text": 1, "with characters that the alphabet lacks": 1, "with more characters than frames": 1,
    }  # fmt: skip
    assert {tuple(labels) for step in range(4) for labels in task.batches.batch(step).labels} == {(3, 1, 5, 3, 4)}
    with pytest.raises(CodecError, match="none of the 4 clips can be trained on, most of them longer than"):
        Trainer(config(corpus, tmp_path / "none", data={**data, "max_seconds": 0.01}))


def test_the_verb(corpus, tmp_path, capsys):
    values = [f"output={tmp_path / 'run'}", f"encoder={corpus / 'hubert'}", f"data.manifests=[{corpus / 'train.jsonl'}]"]
    values += [f"data.cache={corpus / 'cache'}", "head={hidden: 4, layers: 0}", "max_steps=1", "tracker=none"]
    assert main(["finetune-encoder", "--config", "finetune_encoder", *values]) == 0
    assert "the encoder after 1 step" in capsys.readouterr().err
    # As a task like any other.
    assert main(["train", "--config", "finetune_encoder", *values, "resume=true", "max_steps=2"]) == 0
    assert main(["finetune-encoder", "--config", "tiny"]) == 1
    assert "needs a config with task: encoder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads_first": 1.0}, r"heads_first: expected a share in \[0, 1\)"),
        ({"init_from": "runs/x"}, "starts from encoder; name it there"),
        ({"freeze_weights": ["front.*"]}, r"no weight fits 'front.\*'; a name is "),
        ({"data": {"manifests": []}}, "data.manifests: none given"),
        ({"encoder": "./nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_is_refused(corpus, tmp_path, changes, message):
    with pytest.raises(CodecError, match=message):
        Trainer(config(corpus, tmp_path, **changes))
