"""Models by hub id, from a hub on this machine, and folders for one."""

import functools
import json
from typing import ClassVar

import pytest
import torch
from conftest import make_tiny_model
from hub_server import SHA, serving
from safetensors.torch import load_file, save_file

import codec
from codec.hub.download import is_hub_id
from codec.hub.publish import push_to_hub
from codec.model.files import find_model

huggingface_hub = pytest.importorskip("huggingface_hub")
REPO = "some-org/tiny.codec"


@pytest.fixture(scope="module")
def model():
    return make_tiny_model()


@pytest.fixture(scope="module")
def published(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    model.save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "evil.py").write_text("raise SystemExit")
    return folder


@pytest.fixture
def hub(published, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with serving(REPO, published) as hub:
        download = functools.partial(huggingface_hub.snapshot_download, endpoint=hub.url)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        yield hub


def cut_off(hub):
    hub.shutdown()
    hub.server_close()


def test_a_folder_of_save_pretrained_loads_as_any_other(model, published):
    loaded = codec.load(published)
    assert loaded.fingerprint == model.fingerprint
    assert json.loads((published / "config.json").read_text())["model_type"] == "speech_codec"


@pytest.mark.parametrize("name", [REPO, f"{REPO}@v1", f"{REPO}@{SHA}"])
def test_a_hub_id_loads_weights_and_settings_and_no_code(hub, model, tmp_path, name):
    folder = find_model(name, cache_dir=tmp_path / "cache")
    assert codec.load(name, cache_dir=tmp_path / "cache").fingerprint == model.fingerprint
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors", ".md"}


def test_the_cache_serves_without_a_network(hub, model, tmp_path):
    cache = tmp_path / "cache"
    codec.load(REPO, cache_dir=cache)
    asked = len(hub.requests)
    assert codec.load(REPO, cache_dir=cache, local_files_only=True).fingerprint == model.fingerprint
    assert len(hub.requests) == asked
    cut_off(hub)
    assert codec.load(REPO, cache_dir=cache).fingerprint == model.fingerprint


def test_without_network_and_cache_one_line_says_how_to_work_offline(hub, tmp_path):
    cut_off(hub)
    for options in ({}, {"local_files_only": True}):
        with pytest.raises(codec.CodecError, match="to work offline, download it once") as caught:
            codec.load(REPO, cache_dir=tmp_path / "cache", **options)
        assert "\n" not in str(caught.value)


def test_half_a_download_is_never_loaded_and_is_completed_later(hub, model, tmp_path):
    hub.break_off = True
    for options in ({}, {"local_files_only": True}):
        with pytest.raises(codec.CodecError):
            codec.load(REPO, cache_dir=tmp_path / "cache", **options)
    hub.break_off = False
    assert codec.load(REPO, cache_dir=tmp_path / "cache").fingerprint == model.fingerprint


def test_a_cut_file_is_refused(published, tmp_path):
    (tmp_path / "config.json").write_bytes((published / "config.json").read_bytes())
    content = (published / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(codec.CodecError, match="damaged"):
        codec.load(tmp_path)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("other/missing", {}, "neither a folder"),
        (REPO, {"revision": "v9"}, "no such revision"),
        (f"{REPO}@v1", {"revision": "v1"}, "a revision already"),
    ],
)
def test_what_the_hub_lacks_is_an_error_of_one_line(hub, tmp_path, name, options, message):
    with pytest.raises(codec.CodecError, match=message) as caught:
        codec.load(name, cache_dir=tmp_path / "cache", **options)
    assert "\n" not in str(caught.value)


def test_folders_come_before_hub_ids(hub, model, tmp_path):
    codec.save(model, tmp_path / "some-org" / "tiny.codec")
    codec.load(REPO)
    (tmp_path / "some-org" / "empty").mkdir()
    with pytest.raises(codec.CodecError, match="neither a folder"):
        codec.load("some-org/empty")
    assert hub.requests == []
    with pytest.raises(codec.CodecError, match="no revision"):
        codec.load(REPO, revision="main")


def test_paths_are_no_hub_ids():
    assert is_hub_id("org/name") and is_hub_id("org/name@refs/pr/1")
    for name in ("name", "./name", "/a/name", "~/name", "a/b/c", "a/", "a\\b", "a/na me", "a/b.pt", "a/b.SafeTensors", 3):
        assert not is_hub_id(name)


def test_a_config_of_another_library_is_named(tmp_path, published):
    (tmp_path / "config.json").write_text('{"model_type": "mimi", "sampling_rate": 24000}')
    with pytest.raises(codec.CodecError, match="'mimi', of another library"):
        codec.load(tmp_path)


def test_the_card_says_what_is_known_of_unchanged_weights(tmp_path):
    codec.load("default", "cpu").save_pretrained(tmp_path / "same")
    card = (tmp_path / "same" / "README.md").read_text()
    for fact in ("license: apache-2.0", "df958262daeaccfc", "| 8 | 400 | 4 |", "distill_sm:whisper"):
        assert fact in card
    assert (tmp_path / "same" / "training.json").is_file()
    changed = codec.load("default", "cpu")
    next(changed.encoder.parameters()).mul_(1.01)
    changed.save_pretrained(tmp_path / "changed", license="mit")
    card = (tmp_path / "changed" / "README.md").read_text()
    assert "license: mit" in card and "Nothing is recorded" in card
    assert not (tmp_path / "changed" / "training.json").exists()


def test_a_written_card_stays(model, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_half_precision_files_load(model, tmp_path):
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    assert codec.load(tmp_path).encode(torch.zeros(700)).codes.shape == (1, 8, 3)


class FakeApi:
    """What ``HfApi`` is asked to do, and the files that it gets."""

    made: ClassVar[list] = []

    def __init__(self, token=None):
        self.calls = {"token": token}
        self.made.append(self)

    def create_repo(self, repo, private, exist_ok):
        self.calls["create"] = (repo, private, exist_ok)
        return type("Url", (), {"repo_id": repo})

    def create_branch(self, repo, branch, exist_ok):
        self.calls["branch"] = branch

    def file_exists(self, repo, name, revision):
        return name == "README.md" and repo.endswith("-with-card")

    def upload_folder(self, repo_id, folder_path, revision, commit_message):
        from pathlib import Path

        self.files = sorted(path.name for path in Path(folder_path).iterdir())
        if repo_id == "refused/name":
            raise OSError("403 Forbidden")
        return type("Commit", (), {"commit_url": f"https://hub/{repo_id}/commit/1"})


def test_push_uploads_the_folder_and_keeps_a_card(model, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    assert model.push_to_hub("org/name", private=True, revision="dev") == "https://hub/org/name/commit/1"
    first = FakeApi.made[-1]
    assert first.calls == {"token": None, "create": ("org/name", True, True), "branch": "dev"}
    assert first.files == ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]
    push_to_hub(model, "org/name-with-card")
    assert "README.md" not in FakeApi.made[-1].files
    with pytest.raises(codec.CodecError, match="403 Forbidden"):
        model.push_to_hub("refused/name")
    with pytest.raises(codec.CodecError, match="no hub id"):
        model.push_to_hub("name")
