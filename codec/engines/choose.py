"""Choose an engine by its name."""

import importlib.util
from pathlib import Path

from codec.engines.base import Engine
from codec.engines.layout import graphs_fit, is_export, shipped_graphs
from codec.engines.torch import TorchEngine
from codec.errors import CodecError
from codec.model.network import Network
from codec.reading import path_of

NAMES = ("auto", "torch", "compile", "graph", "onnx")


def choose_engine(model: Network, name: str, folder: Path) -> Engine:
    """The engine of a model.

    Args:
        model: with its weights, on its device.
        name: ``torch``; ``compile`` (torch.compile, waits for a compiler at the first use); ``graph``
            (CUDA graphs for streams); ``onnx`` (the graphs next to the weights, in ONNX Runtime); a folder
            that ``codec export`` wrote; or
            ``auto``: ``graph`` on a CUDA device, ``onnx`` on the CPU where graphs and ONNX Runtime
            are there, else ``torch``.
        folder: of the model.

    Raises:
        CodecError: for another name, and when the engine cannot be had here.
    """
    name = path_of(name, "an engine")
    graphs = shipped_graphs(folder)
    if name == "auto":
        name = _fastest(model, graphs)
    if name == "torch":
        return TorchEngine(model)
    if name == "compile":
        from codec.engines.compiled import CompiledEngine

        return CompiledEngine(model)
    if name == "graph":
        from codec.engines.graph import GraphEngine

        return GraphEngine(model)
    if name == "onnx" and not is_export(graphs):
        raise CodecError(f"no graphs in {graphs}; make them with: codec export --onnx --model {folder}")
    if name == "onnx" or is_export(Path(name)):
        from codec.engines.onnx import OnnxEngine

        return OnnxEngine(model, graphs if name == "onnx" else Path(name))
    raise CodecError(f"no engine {name!r}; choose {', '.join(NAMES)} or a folder of codec export")


def _fastest(model: Network, graphs: Path) -> str:
    """The engine that measured fastest on the model's device, of the available ones (docs/performance.md)."""
    device = model.device.type
    if device == "cuda":
        return "graph"
    installed = importlib.util.find_spec("onnxruntime") is not None
    return "onnx" if installed and device == "cpu" and graphs_fit(model, graphs) else "torch"
