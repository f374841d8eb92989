"""Linear layers in 8 bits: weights rounded once, their inputs as they come."""

import logging

import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)

from codec.errors import CodecError

BLOCK = 32
"""Inputs of a layer that share one scale, of weights and of values."""
MIN_ROWS = 2
"""A single row is computed, and rounded, in another way than more of them."""
_COMPUTE_IN_INT8 = 4
"""``accuracy_level`` of ONNX Runtime's MatMulNBits."""


def quantized(proto: onnx.ModelProto, layers: list[str]) -> onnx.ModelProto:
    """The graph with these linear layers in 8 bits.

    Each row has its own scales by block, so a frame does not depend on what is computed with it, which
    it would with one scale for a whole tensor (``quantize_dynamic`` of ONNX Runtime). What is none of the
    layers stays in float32: the products with codebooks, whose inputs decide the codes, the Fourier
    transforms and the convolutions.

    Raises:
        CodecError: when there are no such layers.
    """
    if not layers:
        raise CodecError("this network has no linear layers to quantize; export it without --int8")
    others = [node.name for node in proto.graph.node if node.name not in layers]
    config = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK, is_symmetric=True, accuracy_level=_COMPUTE_IN_INT8, bits=8
    )
    quantizer = MatMulNBitsQuantizer(proto, algo_config=config, nodes_to_exclude=others)
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        quantizer.process()
    finally:
        logging.disable(previous)
    return quantizer.model.model
