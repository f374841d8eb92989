"""A model's encoder and decoder as ONNX graphs, each for offline and streaming use.

A graph is first made without weights: they stay inputs while it is simplified, so that nothing of
them gets folded into it, and become initializers that name a tensor of the model. Such a graph fits
every model with the same config. :func:`with_weights` puts the weights in.
"""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_ir
import torch
from onnxscript import optimizer
from torch import nn

from codec.errors import CodecError
from codec.export.decompositions import decompositions
from codec.export.lstm import TRANSLATIONS, whole_lstms
from codec.export.modules import DecoderModule, EncoderModule, StepModule
from codec.model.network import Network
from codec.model.states import tensors_of

OPSET = 20
"""The first opset with a GELU operator."""
_FOLDED = 4_096
"""Elements up to which constants are computed ahead; larger ones, as Fourier matrices, when loaded."""


@dataclass(frozen=True)
class Graph:
    """A graph without weights.

    Attributes:
        weights: names of the initializers, which are names in the model's state dict.
        linear: names of the nodes that multiply with a weight, except the quantizer's.
    """

    proto: onnx.ModelProto
    weights: list[str]
    linear: list[str]


def encoder_graph(model: Network) -> Graph:
    """``wav (batch, hop * frames)`` and states to ``codes (batch, K, frames)`` and new states.

    Raises:
        CodecError: when the model is not causal, or has an operation without ONNX counterpart.
    """
    _check_causal(model)
    return _export(EncoderModule(model), "wav", "codes")


def decoder_graph(model: Network) -> Graph:
    """``codes (batch, K, frames)`` and states to ``wav (batch, hop * frames)`` and new states.

    Raises:
        CodecError: as :func:`encoder_graph`.
    """
    _check_causal(model)
    return _export(DecoderModule(model), "codes", "wav")


def with_weights(graph: Graph, model: Network) -> onnx.ModelProto:
    """The graph with the model's weights in it, folded into the shapes in which they are used."""
    proto = onnx.ModelProto()
    proto.CopyFrom(graph.proto)
    tensors = model.state_dict()
    for initializer in proto.graph.initializer:
        if initializer.name in graph.weights:
            values = tensors[initializer.name].detach().cpu().numpy()
            initializer.CopyFrom(onnx.numpy_helper.from_array(values, initializer.name))
    with quiet():
        return optimizer.optimize(proto)


def onnx_program(
    module: nn.Module, inputs: tuple[Any, ...], shapes: Any, input_names: list[str], output_names: list[str]
) -> torch.onnx.ONNXProgram:
    """A module as PyTorch exports it to ONNX, with Fourier transforms as matrix products.

    Args:
        module: in eval mode.
        inputs: an example of its arguments.
        shapes: which of their axes vary, as :func:`torch.export.export` takes them.
        input_names: of the graph.
        output_names: of the graph.

    Raises:
        CodecError: for an operation that has no ONNX counterpart.
    """
    with quiet(), whole_lstms(module):
        try:
            program = torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False)
            exported = torch.onnx.export(
                program.run_decompositions(decompositions()),
                input_names=input_names,
                output_names=output_names,
                dynamic_shapes=shapes,
                opset_version=OPSET,
                custom_translation_table=TRANSLATIONS,
                dynamo=True,
                optimize=False,
            )
        except CodecError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise CodecError(f"this network cannot be exported to ONNX ({reason})") from error
    assert exported is not None
    return exported


@torch.no_grad()
def _export(module: StepModule, source: str, result: str) -> Graph:
    count = len(tensors_of(module.state))
    batch, frames = torch.export.Dim("batch", min=1), torch.export.Dim("frames", min=1)
    time = module.unit * frames if module.unit > 1 else frames
    shapes = ({0: batch, module.example.ndim - 1: time}, tuple({0: batch} for _ in range(count)))
    inputs = (module.example, *tensors_of(module.state))
    names = range(count)
    exported = onnx_program(
        module,
        inputs,
        shapes,
        [source, *(f"state.{index}" for index in names)],
        [result, *(f"new_state.{index}" for index in names)],
    )
    with quiet():
        quantizer = {f"quantizer.{name}" for name in module.quantizer.state_dict()}
        return _simplified(exported.model, set(module.state_dict()), quantizer)


def _simplified(model: onnx_ir.Model, names: set[str], quantizer: set[str]) -> Graph:
    """The graph without superfluous operations, the weights of these names replaced by references."""
    initializers = model.graph.initializers
    found = {name: value for name, value in initializers.items() if name in names and value.uses()}
    used, weights = list(found), list(found.values())
    for name, value in found.items():
        model.graph.initializers.pop(name)
        value.const_value = None
        model.graph.inputs.append(value)
    optimizer.optimize(model, input_size_limit=_FOLDED, output_size_limit=_FOLDED)
    for value in weights:
        model.graph.inputs.remove(value)
    proto = onnx_ir.to_proto(model)
    for name, value in found.items():
        proto.graph.initializer.append(_reference(name, value))
    _tidy(proto)
    return Graph(proto, used, _linear_nodes(proto, {name for name in used if name not in quantizer}))


def _reference(name: str, value: onnx_ir.Value) -> onnx.TensorProto:
    """An initializer whose content is elsewhere: whoever loads the graph supplies it."""
    assert value.shape is not None
    reference = onnx.TensorProto(
        name=name,
        data_type=onnx.TensorProto.FLOAT,
        dims=value.shape.numpy(),
        data_location=onnx.TensorProto.EXTERNAL,
    )
    reference.external_data.add(key="location", value="model.safetensors")
    return reference


def _linear_nodes(proto: onnx.ModelProto, weights: set[str]) -> list[str]:
    """Matrix products whose second factor is a weight, transposed or as it is."""
    made = {node.output[0]: node.input[0] for node in proto.graph.node if node.op_type == "Transpose"}
    products = [node for node in proto.graph.node if node.op_type in ("MatMul", "Gemm")]
    return [node.name for node in products if made.get(node.input[1], node.input[1]) in weights]


def _tidy(proto: onnx.ModelProto) -> None:
    """Drop the source location of each node, and name the axes."""
    graph = proto.graph
    graph.ClearField("value_info")
    for entry in [graph, *graph.node, *graph.input, *graph.output, *graph.initializer]:
        entry.ClearField("metadata_props")
        entry.ClearField("doc_string")
    for value in [*graph.input, *graph.output]:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = re.sub(r"\bs\d+\b", "frames", axis.dim_param)


def _check_causal(model: Network) -> None:
    if not model.causal:
        raise CodecError("this model needs the whole recording and has no steps to export; use a causal one")


@contextmanager
def quiet() -> Iterator[None]:
    """The exporter tells of its progress, and warns of what is not used here."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
