"""Export to ONNX (extra ``[onnx]``). The graphs are used by :mod:`codec.engines`."""
