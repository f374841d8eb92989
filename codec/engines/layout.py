"""Where an export has its files, and what they say of themselves.

A folder holds ``encoder.onnx`` and ``decoder.onnx``. Written by ``codec export --onnx OUT``, the graphs
have their weights inside and ``config.json`` beside them. The folder ``onnx`` of a model has the graphs
without weights, for any model with this config, and ``weights.json`` with the tensors that each wants.
"""

import json
from pathlib import Path

from codec.errors import CodecError

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
WEIGHTS = "weights.json"

FORMAT = "1"
"""Of names, axes and meaning of inputs and outputs. Raise it when an older graph means another thing."""
FORMAT_KEY = "codec.format"
CONFIG_KEY = "codec.config"
FINGERPRINT_KEY = "codec.fingerprint"
DECODER_KEY = "codec.decoder"
MIN_ROWS_KEY = "codec.min_rows"
"""Keys of a graph's metadata; fingerprints only where weights are inside, rows where they are not 1."""


def shipped_graphs(model_folder: Path) -> Path:
    """Folder of the graphs beside a model's weights."""
    return model_folder / "onnx"


def is_export(folder: Path) -> bool:
    """Whether a folder has both graphs."""
    return (folder / ENCODER).is_file() and (folder / DECODER).is_file()


def wanted_weights(folder: Path) -> dict[str, list[str]]:
    """By graph file, the names of the tensors that it wants; empty when it has them inside."""
    path = folder / WEIGHTS
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {name: [str(tensor) for tensor in values[name]] for name in (ENCODER, DECODER)}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CodecError(f"{path}: damaged ({error}); run codec export again") from None
