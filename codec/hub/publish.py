"""A model as a folder or repository that codec and the library transformers both read."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from codec.atomic import atomic_path
from codec.errors import CodecError
from codec.eval import training
from codec.hub.card import Facts, card, read_facts
from codec.hub.download import is_hub_id
from codec.hub.remote import AUTO_MAP, write_remote_code
from codec.model import lineage
from codec.model.codec import Codec
from codec.model.config import MODEL_TYPE, SETTINGS, config_to_dict
from codec.model.files import save_model

CARD = "README.md"
_HISTORY = (lineage.FILE, training.FILE)
"""What a model's folder says of its training."""


def save_pretrained(
    model: Codec, folder: str | Path, license: str | None = None, remote_code: bool = False
) -> None:
    """Write a model for the Hub: weights, config, feature extractor and a model card.

    The files are ``model.safetensors``, ``config.json`` with the ``model_type`` for transformers,
    ``preprocessor_config.json``, ``README.md`` unless there is one, and ``aliases.json``, ``base.json`` and
    ``training.json`` where the model has them.

    Args:
        license: for the card, such as ``apache-2.0``; by default that of the folder from which the unchanged
            weights were loaded.
        remote_code: write the network's source too, so that transformers loads the model with
            ``trust_remote_code=True`` where codec is not installed (docs/huggingface.md).

    Raises:
        CodecError: when the folder cannot be written.
    """
    save_model(model, folder)
    folder = Path(folder)
    source = _unchanged_source(model)
    _write(folder / "config.json", transformers_config(model, remote_code))
    _write(folder / "preprocessor_config.json", feature_extractor_config(model.sample_rate))
    if source is not None and source.resolve() != folder.resolve():
        for name in _HISTORY:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
    if remote_code:
        write_remote_code(folder)
    if not (folder / CARD).exists():
        facts = read_facts(source) if source is not None else Facts()
        text = card(model, facts, license, remote_code)
        with atomic_path(folder / CARD) as temporary:
            temporary.write_text(text, encoding="utf-8")


def push_to_hub(
    model: Codec,
    repo: str,
    *,
    license: str | None = None,
    remote_code: bool = False,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
) -> str:
    """Upload what :func:`save_pretrained` writes; an existing card in the repository stays.

    Args:
        repo: ``org/name``, made where it does not exist.
        private: whether a new repository is; the account's default.
        revision: the branch to write to; the main branch by default.
        token: of the account; that of ``hf auth login`` by default.

    Returns:
        The address of the commit.

    Raises:
        CodecError: for a name that is no hub id, without huggingface_hub, or when the Hub refuses.
    """
    if not is_hub_id(repo) or "@" in repo:
        raise CodecError(f"{repo!r} is no hub id; write org/name, and a branch as revision")
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise CodecError("push_to_hub needs huggingface_hub: pip install 'codec[hf]'") from None
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder, license, remote_code)
        try:
            made = api.create_repo(repo, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(made.repo_id, branch=revision, exist_ok=True)
            if api.file_exists(made.repo_id, CARD, revision=revision):
                (Path(folder) / CARD).unlink()
            commit = api.upload_folder(
                repo_id=made.repo_id, folder_path=folder, revision=revision, commit_message="Upload model"
            )
        except (HfHubHTTPError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CodecError(f"{repo}: the Hub refused the upload ({reason}); run hf auth login first") from None
    return str(commit.commit_url)


def transformers_config(model: Codec, remote_code: bool = False) -> dict[str, Any]:
    """The content of a ``config.json`` from which transformers and codec both make the model."""
    named: dict[str, Any] = {"model_type": MODEL_TYPE, "architectures": ["SpeechCodecModel"], "dtype": "float32"}
    mapped = {"auto_map": AUTO_MAP} if remote_code else {}
    return named | mapped | {SETTINGS: config_to_dict(model.config)}


def feature_extractor_config(sample_rate: int) -> dict[str, Any]:
    """``preprocessor_config.json``: audio is padded on the right with silence, and a mask says where."""
    return {
        "feature_extractor_type": "EncodecFeatureExtractor",
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": sample_rate,
    }


def _unchanged_source(model: Codec) -> Path | None:
    """The folder that the model was loaded from, if its weights are still those."""
    if model.source is None:
        return None
    try:
        stored = load_file(model.source / "model.safetensors")
    except OSError:
        return None
    held = model.state_dict()
    same = stored.keys() == held.keys() and all(
        torch.equal(tensor.float(), held[name].cpu()) for name, tensor in stored.items()
    )
    return model.source if same else None


def _write(path: Path, content: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
