"""Exports on disk: what :mod:`codec.engines.layout` describes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx

from codec.atomic import atomic_path, reason
from codec.engines import layout
from codec.errors import CodecError
from codec.export.graph import Graph, decoder_graph, encoder_graph, with_weights
from codec.export.int8 import MIN_ROWS, quantized
from codec.model.config import config_to_json
from codec.model.fingerprint import decoder_fingerprint, fingerprint
from codec.model.network import Network

_GRAPHS: dict[str, Callable[[Network], Graph]] = {
    layout.ENCODER: encoder_graph,
    layout.DECODER: decoder_graph,
}


@dataclass(frozen=True)
class Exported:
    """The files that were written.

    Attributes:
        sizes: bytes of each file.
    """

    folder: Path
    sizes: dict[str, int]


def export_onnx(model: Network, folder: str | Path, int8: bool = False) -> Exported:
    """Write ``encoder.onnx`` and ``decoder.onnx`` with the weights inside, and ``config.json``.

    Args:
        int8: round the weights of matrix products to 8 bits, and their inputs when they are computed:
            a quarter of the size, faster, and other codes.

    Raises:
        CodecError: when the model cannot be exported, or the folder not be written.
    """
    fingerprints = {
        layout.FINGERPRINT_KEY: fingerprint(model),
        layout.DECODER_KEY: decoder_fingerprint(model),
        layout.MIN_ROWS_KEY: str(MIN_ROWS if int8 else 1),
    }
    # All that can fail is done before anything is written.
    protos = {}
    for name, make in _GRAPHS.items():
        graph = make(model)
        proto = with_weights(graph, model)
        protos[name] = quantized(proto, graph.linear) if int8 else proto
    folder = _made(folder)
    sizes = {name: _write(folder / name, proto, model, fingerprints) for name, proto in protos.items()}
    with atomic_path(folder / "config.json") as temporary:
        temporary.write_text(config_to_json(model.config), encoding="utf-8")
    (folder / layout.GRAPHS).unlink(missing_ok=True)
    return Exported(folder, sizes)


def export_graphs(model: Network, model_folder: str | Path) -> Exported:
    """Write the graphs without weights next to a model's weights, where ``--engine auto`` finds them.

    Raises:
        CodecError: as :func:`export_onnx`.
    """
    graphs = {name: make(model) for name, make in _GRAPHS.items()}
    folder = _made(layout.shipped_graphs(Path(model_folder)))
    sizes = {name: _write(folder / name, graph.proto, model, {}) for name, graph in graphs.items()}
    facts = layout.GraphsFile(
        format=layout.FORMAT,
        config=config_to_json(model.config),
        encoder=graphs[layout.ENCODER].weights,
        decoder=graphs[layout.DECODER].weights,
    )
    with atomic_path(folder / layout.GRAPHS) as temporary:
        temporary.write_text(facts.to_json(), encoding="utf-8")
    return Exported(folder, sizes)


def _made(folder: str | Path) -> Path:
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"{folder}: cannot be made ({reason(error)}); choose another folder") from None
    return folder


def _write(path: Path, proto: onnx.ModelProto, model: Network, metadata: dict[str, str]) -> int:
    """Write a graph with metadata that names its model; return its size in bytes."""
    facts = {layout.FORMAT_KEY: layout.FORMAT, layout.CONFIG_KEY: config_to_json(model.config)}
    onnx.helper.set_model_props(proto, facts | metadata)
    content = proto.SerializeToString()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return len(content)
