"""``codec merge``: configs of both kinds, tokens kept, sweeps and learned lambdas."""

import json
import shutil

import pytest
import soundfile
import torch
import transformers
import yaml
from command import run, run_ok
from conftest import make_speech, make_tiny_model
from hypothesis import given
from hypothesis import strategies as st
from merge_models import nudge, save_family, write_config
from test_merge_encoders import make, moved
from tiny_encoders import save_musicnn

import codec
from codec.cli.merge import expand_flags
from codec.errors import CodecError
from codec.eval.clips import open_clips, read_clips
from codec.eval.measures.moonshine import MoonshineErrors
from codec.eval.options import ClipsConfig
from codec.merging.config import BranchConfig, MergeConfig, SweepConfig, native, sweep_values
from codec.merging.figure import best
from codec.merging.merge import read_family
from codec.merging.sweep import Point, Sweep, Sweeper
from codec.merging.tokens import compare_tokens, encode_clips, token_agreement
from codec.settings import CONFIGS, read_config


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", make_speech(0.6 + 0.1 * number, seed=number), 16_000)
    return folder


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return save_family(tmp_path_factory.mktemp("family"))


# Settings.


def test_speech_fts_file_and_ours_give_the_same_files(family, tmp_path, capfd):
    base, branches = family
    theirs = f"{{merge_method: linear, alpha: 0.25, base_model_ckpt_path: {base}, finetune_model_paths: [{branches[0]}, {branches[1]}], output_dir: {tmp_path / 'theirs'}}}"
    (tmp_path / "theirs.yaml").write_text(theirs)
    run_ok(capfd, "merge", tmp_path / "theirs.yaml")
    ours = {"base": str(base), "models": [{"path": str(b), "weight": 0.125} for b in branches]}
    (tmp_path / "ours.yaml").write_text(yaml.safe_dump({**ours, "output_dir": str(tmp_path / "ours")}))
    run_ok(capfd, "merge", tmp_path / "ours.yaml")
    for name in ("model.safetensors", "config.json", "base.json"):
        assert (tmp_path / "theirs" / name).read_bytes() == (tmp_path / "ours" / name).read_bytes()


def test_speech_fts_file_merges_a_transformers_encoder(tmp_path, capfd):
    base = make("hubert")
    base.save_pretrained(tmp_path / "hubert")
    moved(base, 1).save_pretrained(tmp_path / "asr")
    values = {
        "alpha": 0.25,
        "base_model_name": "hubert",
        "base_model_ckpt_path": str(tmp_path / "hubert"),
        "finetune_model_paths": [str(tmp_path / "asr")],
        "finetune_model_names": ["asr"],
        "output_dir": str(tmp_path / "merged"),
    }
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(values))
    said = run_ok(capfd, "merge", tmp_path / "m.yaml")
    assert "asr" in said.out and "0.25" in said.out
    assert isinstance(transformers.AutoModel.from_pretrained(tmp_path / "merged"), transformers.HubertModel)


def test_speech_fts_keys_become_ours():
    theirs = {
        "base_model_name": "wavlm_base_plus",
        "base_model_ckpt_path": "",
        "finetune_model_paths": ["a", "b"],
    }
    assert native(theirs) == {
        "base": "microsoft/wavlm-base-plus",
        "models": [{"path": "a", "name": None}, {"path": "b", "name": None}],
        "alpha": 0.25,
    }
    assert native({"base": "x", "models": []}) == {"base": "x", "models": []}
    with pytest.raises(CodecError, match="base_model_name: transformers has no 'decoar2'"):
        native({"base_model_name": "decoar2"})
    with pytest.raises(CodecError, match="config base: base_model_name says it too"):
        native({"base_model_name": "hubert", "base": "x"})


def test_the_shipped_config_is_valid():
    config = read_config(MergeConfig, CONFIGS / "merge.yaml", rewrite=native)
    # Nothing is learned or swept until it is asked for.
    assert config.learns is None and not config.sweep.values
    arguments = [
        item for item in expand_flags(["merge", "--learn", "layer", "--sweep", "0:1:0.5"]) if "=" in item
    ]
    config = read_config(MergeConfig, "merge", arguments, rewrite=native)
    assert config.learns.per == "layer" and sweep_values(config.sweep.values) == [0.0, 0.5, 1.0]
    assert expand_flags(["--sweep", "0,0.25,1", "merge"]) == ["sweep.values='0,0.25,1'", "--config", "merge"]


@given(st.integers(-20, 20), st.integers(1, 40), st.sampled_from([0.05, 0.1, 0.25, 1.0]))
def test_sweeps_hit_both_ends(first, count, step):
    last = first + count * step
    values = sweep_values(f"{first}:{last}:{step}")
    assert len(values) == count + 1 and values[0] == first and values[-1] == pytest.approx(last, abs=1e-9)
    assert all(value == float(f"{value:.9g}") for value in values)


@pytest.mark.parametrize("text", ["", "0:1", "0:1:0", "1:0:0.1", "a,b", "0:1:1e-9", "0:inf:1", "0:nan:1"])
def test_bad_sweeps_are_refused(text):
    with pytest.raises(CodecError, match=r"is neither 0:1:0.1 nor 0,0.25,1"):
        sweep_values(text)


def test_flags_are_short_for_settings():
    assert expand_flags(["m.yaml", "--learn", "--force", "seed=3"]) == [
        *("--config", "m.yaml", "learn.per=model", "force=true", "seed=3")
    ]
    assert expand_flags(["--learn", "layer", "m.yaml", "--sweep", "0:1:0.1"]) == [
        *("learn.per=layer", "--config", "m.yaml", "sweep.values='0:1:0.1'")
    ]
    assert expand_flags(["--sweep=0,1", "--config", "x"]) == ["sweep.values='0,1'", "--config", "x"]


def test_errors_are_one_line(family, recordings, tmp_path, capfd):
    config = write_config(tmp_path, family, recordings)
    for arguments, message in (
        ([config, "--learn"], "config learn: clips must be given"),
        (
            [config, "--learn", f"learn.clips.manifests=[{recordings}]", "learn.steps=0"],
            "config learn: steps, ",
        ),
        (
            [config, "--learn=sentence", f"learn.clips.manifests=[{recordings}]"],
            "'sentence' is none of none, model, layer",
        ),
        (
            [config, "--learn", f"learn.clips.manifests=[{recordings}]", "merge_method=ties"],
            "works with merge_method linear",
        ),
        ([config, "--sweep", "0:1:0.5", "clips=null"], "config clips: none given"),
        ([config, "--sweep", "0:1"], "'0:1' is neither"),
        ([config, "--sweep", "0:1:0.5", "sweep.x=pesq"], "config sweep.x: no figure 'pesq'"),
        ([config, "--sweep", "0:1:0.5", "sweep.measures=[pesqq]"], "pesqq"),
        ([config, "clips.manifests=[nowhere]"], "nowhere"),
        ([config, "base=null"], "expected str, got None"),
        ([tmp_path / "no.yaml"], "no config"),
        ([], "base, models, output_dir must be given"),
        ([config, "weigth=1"], "unknown key 'weigth'; known keys"),
    ):
        result = run(capfd, "merge", *arguments)
        assert result.status == 1 and len(result.error_lines) == 1 and message in result.error_lines[0], (
            result.err
        )
    assert not (tmp_path / "merged").exists()


def test_encoders_have_no_tokens_to_measure(recordings, tmp_path, capfd):
    base = make("hubert")
    base.save_pretrained(tmp_path / "a")
    moved(base, 1).save_pretrained(tmp_path / "b")
    config = write_config(
        tmp_path,
        (tmp_path / "a", [tmp_path / "b", tmp_path / "b"]),
        recordings,
        models=[{"path": str(tmp_path / "b"), "weight": 1}],
    )
    result = run(capfd, "merge", config)
    assert result.status == 1 and "no codec, so it has no decoder and no tokens" in result.err
    assert not (tmp_path / "merged").exists()


# Tokens.


def test_agreement_is_counted_by_frames_and_codes(tiny_model):
    def tokens(*layers):
        codes = torch.tensor(layers).unsqueeze(0)
        frames = torch.tensor([codes.shape[2]])
        return codec.Tokens(codes, frames, frames * 320, 16_000, "0" * 16, 320, (16,) * len(layers))

    mine = [tokens([1, 2, 3, 4], [1, 1, 1, 1]), tokens([5], [5])]
    other = [tokens([1, 2, 3, 9], [1, 1, 2, 1]), tokens([5], [6])]
    found = compare_tokens(mine, other)
    assert (found.first, found.all, found.frames) == (
        pytest.approx(4 / 5),
        pytest.approx(7 / 10),
        pytest.approx(2 / 5),
    )
    assert found.layers == pytest.approx([4 / 5, 3 / 5]) and (found.compared, found.clips) == (5, 2)
    with pytest.raises(CodecError, match="compare models of one frame rate"):
        compare_tokens(mine, [tokens([1, 2]), tokens([5], [5])])
    with pytest.raises(CodecError, match="no frames to compare"):
        compare_tokens([], [])


def test_the_base_agrees_with_itself_and_less_with_what_moved_further(recordings):
    base = make_tiny_model()
    clips = read_clips(recordings)
    found = [token_agreement(base, nudge(base, 1, size), clips) for size in (0.0, 0.02, 0.5)]
    assert found[0].first == found[0].all == found[0].frames == 1.0
    assert 1 > found[1].first > found[2].first
    assert found[1].first == found[1].layers[0] and found[1].frames <= min(found[1].layers)
    assert found[1].compared == sum(int(tokens.lengths) for tokens in encode_clips(base, clips))


def test_the_verb_reports_tokens_and_writes_them(family, recordings, tmp_path, capfd):
    said = run_ok(capfd, "merge", write_config(tmp_path, family, recordings))
    report = json.loads((tmp_path / "merged" / "merge.json").read_text())
    base, merged = codec.load(family[0], "cpu"), codec.load(tmp_path / "merged", "cpu")
    expected = token_agreement(base, merged, read_clips(recordings))
    assert report["tokens"] == expected.facts() and 0 < expected.first < 1
    assert f"{expected.first:.1%} of RVQ-1" in said.out and "cosine speech ~ music" in said.out


def test_skipped_files_of_a_folder_are_named(family, recordings, tmp_path, capfd):
    shutil.copytree(recordings, tmp_path / "some")
    (tmp_path / "some" / "b.m4a").write_bytes(b"")
    said = run_ok(capfd, "merge", write_config(tmp_path, family, tmp_path / "some"))
    assert "skipped" in said.err and "b.m4a" in said.err


# Sweeps.


def test_a_sweep_goes_from_the_base_to_the_branches(family, recordings, tmp_path, capfd):
    config = write_config(tmp_path, family, recordings, sweep={"measures": ["si_sdr"], "y": "si_sdr"})
    run_ok(capfd, "merge", config, "--sweep", "0:2:0.5")
    found = json.loads((tmp_path / "merged" / "sweep.json").read_text())
    points = found["points"]
    assert [point["value"] for point in points] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert points[1]["weights"] == [0.25, 0.25]
    assert points[0]["figures"]["tokens_all"] == 1.0 and points[0]["layers"] == [1.0] * 8
    shares = [point["figures"]["tokens_first"] for point in points]
    assert shares == sorted(shares, reverse=True) and shares[-1] < 1
    # The point of alpha 1 is the merge with lambdas of a half, which the file's own weights make.
    tokens = json.loads((tmp_path / "merged" / "merge.json").read_text())["tokens"]
    assert points[2]["figures"]["tokens_first"] == tokens["first"] and points[2]["layers"] == tokens["layers"]
    assert "si_sdr" in points[0]["figures"] and found["better"]["si_sdr"] is True
    assert (tmp_path / "merged" / "frontier.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("alpha", "weights", "written"),
    [(None, (None, None), 0.125), (None, (0.7, None), 0.125), (None, (0.7, 0.2), 0.7), (0.5, (0.7, 0.2), 0.25)],
)
def test_a_sweep_demands_no_weights_and_refuses_none(alpha, weights, written):
    models = tuple(BranchConfig(name, weight) for name, weight in zip("ab", weights, strict=True))
    clips = ClipsConfig(("clips.jsonl",))
    config = MergeConfig("base", models, "out", alpha=alpha, clips=clips, sweep=SweepConfig("0:1:0.5"))
    assert config.weights[0] == written


def test_a_trade_goes_from_one_branch_to_the_other(family, recordings, tmp_path, capfd):
    sweep = {"measures": [], "y": "tokens_all", "of": "trade", "values": "0,1"}
    run_ok(capfd, "merge", write_config(tmp_path, family, recordings, sweep=sweep))
    points = json.loads((tmp_path / "merged" / "sweep.json").read_text())["points"]
    assert [point["weights"] for point in points] == [[0.0, 1.0], [1.0, 0.0]]
    base = codec.load(family[0], "cpu")
    for point, folder in zip(points, reversed(family[1]), strict=True):
        expected = token_agreement(base, codec.load(folder, "cpu"), read_clips(recordings))
        assert point["layers"] == expected.layers


def test_figures_that_resemble_a_training_loss_are_marked(recordings, tmp_path, capfd):
    family = save_family(tmp_path / "models")
    (family[0] / "training.json").write_text('{"losses": ["waveform"]}')
    (family[1][0] / "training.json").write_text('{"losses": ["mel"]}')
    sweep = {"measures": ["si_sdr", "mel"], "y": "mel", "values": "0"}
    said = run_ok(capfd, "merge", write_config(tmp_path, family, recordings, sweep=sweep))
    found = json.loads((tmp_path / "merged" / "sweep.json").read_text())
    assert found["marked"]["mel"] == ["mel"] and found["silent"] == ["music"]
    assert "mel resembles a loss that a model was trained with (mel)" in said.err
    assert "no training.json tells the losses of music" in said.err


def test_the_frontier_is_what_nothing_beats():
    values = [
        (0.0, 1.0, 5.0),
        (1.0, 2.0, 4.0),
        (2.0, 1.5, 4.5),
        (3.0, 0.5, 5.0),
        (4.0, 2.0, 4.0),
        (5.0, 1.0, 5.0),
    ]
    points = [Point(value, [value], {"good": good, "bad": bad}, []) for value, good, bad in values]
    sweep = Sweep("alpha", {"good": "g", "bad": "b"}, {"good": True, "bad": False}, points, 1)
    assert [point.value for point in best(sweep, points, "good", "bad")] == [1.0, 4.0]
    higher = Sweep("alpha", {"good": "g", "bad": "b"}, {"good": True, "bad": True}, points, 1)
    assert [point.value for point in best(higher, points, "good", "bad")] == [0.0, 1.0, 2.0, 4.0, 5.0]


def test_measures_that_need_a_model_can_be_swept(family, recordings, tmp_path, monkeypatch, capfd):
    config = write_config(tmp_path, family, recordings, sweep={"measures": ["tags"], "y": "tags", "values": "0,1"})
    result = run(capfd, "merge", config)
    assert result.status == 1 and "(tag_model in a config)" in result.error_lines[0]
    monkeypatch.setattr("codec.merging.sweep.score", lambda *_, settings: {"tags": float(settings.tag_model == musicnn)})
    musicnn = str(save_musicnn(tmp_path / "musicnn"))
    run_ok(capfd, "merge", config, f"sweep.tag_model={musicnn}")
    points = json.loads((tmp_path / "merged" / "sweep.json").read_text())["points"]
    assert [point["figures"]["tags"] for point in points] == [100.0, 100.0]


def test_figures_are_in_the_units_of_their_titles(family, recordings, tmp_path, monkeypatch):
    config = read_config(MergeConfig, write_config(tmp_path, family, recordings))
    monkeypatch.setattr("codec.merging.sweep.score", lambda *_, settings: {"wer_moonshine": 0.25})
    monkeypatch.setattr("codec.merging.sweep.build_measures", lambda *ignored: [MoonshineErrors()])
    settings = SweepConfig(values="0:1:1", measures=("wer_moonshine",), y="wer_moonshine")
    sweep = Sweeper(read_family(config), settings, open_clips(config.clips)).run()
    assert "%" in sweep.titles["wer_moonshine"]
    assert [point.figures["wer_moonshine"] for point in sweep.points] == [25.0, 25.0]
    assert sweep.points[0].figures["tokens_first"] == 1.0
