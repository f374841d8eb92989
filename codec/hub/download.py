"""Models by hub id, ``org/name`` or ``org/name@revision``, in the cache that all tools of the Hub share."""

import re
from pathlib import Path

from codec.errors import CodecError

FILES = ("*.json", "model.safetensors", "README.md", "onnx/*.json", "onnx/*.onnx")
"""What is downloaded: no pickles, and no code."""
_NEEDED = ("config.json", "model.safetensors")
_ID = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[^\s@]+))?", re.ASCII)
_FILES_OF_WEIGHTS = (".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt", ".onnx")


def is_hub_id(name: object) -> bool:
    """Whether ``name`` can be a hub id: one slash, written neither like a path nor like a file of weights."""
    if not isinstance(name, str) or name.lower().endswith(_FILES_OF_WEIGHTS):
        return False
    return _ID.fullmatch(name) is not None


def download(
    name: str,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """The folder of a model of the Hub, which is downloaded where the cache lacks it.

    Args:
        name: ``org/name``, or ``org/name@revision``.
        revision: a branch, a tag or a commit; the main branch by default.
        cache_dir: folder of the cache; that of ``HF_HOME`` by default.
        local_files_only: use the cache alone, as the environment variable ``HF_HUB_OFFLINE=1`` does for
            every model.

    Returns:
        A folder that holds ``config.json`` and ``model.safetensors``, both whole.

    Raises:
        CodecError: when there is no such model or revision, no network, or half a download.
    """
    repo, revision = _split(name, revision)
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise CodecError(
            f"{name}: no such folder, and hub ids need huggingface_hub: pip install 'codec[hf]'"
        ) from None
    try:
        folder = Path(
            snapshot_download(
                repo,
                revision=revision,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                allow_patterns=list(FILES),
            )
        )
    # The Hub's errors have many classes, of httpx or requests, and not the same ones in every version.
    except Exception as error:  # noqa: BLE001
        raise CodecError(explain(name, error)) from None
    missing = [file for file in _NEEDED if not (folder / file).is_file()]
    if missing:
        raise CodecError(
            f"{name}: {' and '.join(missing)} missing from the download in {folder}; connect once to complete "
            "it, or check that the repository holds a model of codec"
        )
    return folder


def _split(name: str, revision: str | None) -> tuple[str, str | None]:
    match = _ID.fullmatch(name)
    if match is None:
        raise CodecError(f"{name!r} is no hub id; write org/name, or org/name@revision")
    if revision is not None and match["revision"] is not None:
        raise CodecError(f"{name!r} has a revision already; give one of them")
    return match["repo"], revision or match["revision"]


def explain(name: str, error: Exception) -> str:
    """One line on what an error of the Hub's library means, and what to do."""
    from huggingface_hub import errors

    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name}: the Hub has no such revision of this model; check the branch, tag or commit"
    if isinstance(error, errors.GatedRepoError):
        return f"{name}: access must be granted first; ask for it on the model's page, then run hf auth login"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"no model {name!r}: neither a folder with config.json here nor a model of the Hub that you may read; "
            "check the name, or run hf auth login for a private one"
        )
    if isinstance(error, errors.HFValidationError):
        return f"{name}: no such folder here, and no hub id, which is org/name"
    first: BaseException = error
    while (before := first.__cause__ or first.__context__) is not None:
        first = before
    reason = " ".join(str(first).split())[:120] or type(first).__name__
    return (
        f"{name}: no such folder here, and the Hub cannot be reached ({reason}); to work "
        "offline, download it once where there is a network (hf download ORG/NAME --local-dir FOLDER) and give "
        "the FOLDER"
    )
