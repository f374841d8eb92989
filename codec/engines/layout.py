"""The files of an export, and their metadata.

A folder holds ``encoder.onnx`` and ``decoder.onnx``. Written by ``codec export --onnx OUT``, the graphs
have their weights inside and ``config.json`` next to them. The folder ``onnx`` of a model has the graphs
without weights, for every model with this config, and ``graphs.json`` with the tensors that each wants.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from codec.errors import CodecError
from codec.model.config import parse_config
from codec.model.network import Network

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
GRAPHS = "graphs.json"

FORMAT = "1"
"""Version of names, axes and meaning of inputs and outputs. Raise it when older graphs differ."""
FORMAT_KEY = "codec.format"
CONFIG_KEY = "codec.config"
FINGERPRINT_KEY = "codec.fingerprint"
DECODER_KEY = "codec.decoder"
MIN_ROWS_KEY = "codec.min_rows"
"""Keys of a graph's metadata; fingerprints only where weights are inside, rows where they are not 1."""


@dataclass(frozen=True)
class GraphsFile:
    """Content of ``graphs.json``.

    Attributes:
        format: :data:`FORMAT` of the graphs.
        config: text of the config of the models that they fit.
        encoder: names of the tensors that the encoder's graph wants, as in a model's state dict.
        decoder: the same of the decoder's.
    """

    format: str
    config: str
    encoder: list[str]
    decoder: list[str]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def shipped_graphs(model_folder: Path) -> Path:
    """Folder of the graphs next to a model's weights."""
    return model_folder / "onnx"


def is_export(folder: Path) -> bool:
    """Whether a folder has both graphs."""
    return (folder / ENCODER).is_file() and (folder / DECODER).is_file()


def read_graphs_file(folder: Path) -> GraphsFile | None:
    """``graphs.json`` of a folder; ``None`` where the graphs have their weights inside."""
    path = folder / GRAPHS
    if not path.is_file():
        return None
    try:
        return GraphsFile(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, OSError) as error:
        raise CodecError(f"{path}: damaged ({error}); run codec export again") from None


def graphs_fit(model: Network, folder: Path) -> bool:
    """Whether a folder has graphs without weights that are for such a model."""
    facts = read_graphs_file(folder) if is_export(folder) else None
    return facts is not None and facts.format == FORMAT and config_fits(model, facts.config)


def config_fits(model: Network, text: str | None) -> bool:
    """Whether ``text``, a ``config.json``, has the settings of a model: those that it leaves out are defaults."""
    try:
        return text is not None and parse_config(text) == model.config
    except CodecError:
        # Of a version of codec that has other settings.
        return False
