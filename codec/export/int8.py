"""Dynamic quantization: 8-bit weights, and inputs rounded to 8 bits as they come."""

import logging
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from codec.errors import CodecError


def quantized(proto: onnx.ModelProto, layers: list[str]) -> onnx.ModelProto:
    """The graph with these linear layers in 8 bits, with a scale for each of their outputs.

    What is none of them stays as it is: the products with codebooks, whose inputs decide the codes, the
    Fourier transforms, whose matrices are no weights, and the convolutions, which are small.
    """
    if not layers:
        raise CodecError("this network has no linear layers to quantize; export it without --int8")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        previous = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            quantize_dynamic(
                proto, target, weight_type=QuantType.QInt8, per_channel=True, nodes_to_quantize=layers
            )
        finally:
            logging.disable(previous)
        return onnx.load(target)
