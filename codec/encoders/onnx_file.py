"""Any ONNX file that maps samples to embeddings, by onnxruntime; its inputs and outputs are checked first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.encoders.base import Encoder, EncoderConfig
from codec.errors import CodecError

Run = Callable[[Tensor], Tensor]


def is_onnx(model: str) -> bool:
    """Whether a model's name is that of an ONNX file."""
    return model.endswith(".onnx")


def open_onnx(config: EncoderConfig) -> Encoder:
    """An encoder of an ONNX file with one float input, samples ``(B, n)`` or ``(B, 1, n)``.

    The output, the file's first unless ``output`` names one, is ``(B, D)`` or ``(B, T, D)``. Where n is fixed,
    clips are cut into windows of that length, the last one filled with zeros: vectors are averaged, frames
    are stitched.

    Raises:
        CodecError: for another kind of input or output, or a declaration that is missing.
    """
    session = open_session(config.model)
    source, target = _input(session, config.model), _output(session, config)
    name, rank, dim = Path(config.model).name, len(source.shape), target.shape[-1]
    dim = dim if isinstance(dim, int) else config.dim
    frames = len(target.shape) == 3
    sample_rate, rate = config.sample_rate, config.rate if frames else None
    declared = {"sample_rate": sample_rate, "dim": dim, "rate": rate or not frames}
    missing = [key for key, value in declared.items() if not value]
    if not sample_rate or not dim or missing:
        raise CodecError(f"{config.model}: {', '.join(missing)} must be declared, since the file does not say")
    if config.dim not in (None, dim):
        raise CodecError(f"{config.model}: declared size {config.dim}, but output {target.name} has {dim}")
    window = source.shape[-1] if isinstance(source.shape[-1], int) else None

    def run(wav: Tensor) -> Tensor:
        values = wav.reshape((1, 1, -1) if rank == 3 else (1, -1)).numpy()
        (result,) = session.run([target.name], {source.name: np.ascontiguousarray(values)})
        return torch.from_numpy(result).float().reshape(-1, result.shape[-1])

    per_sample = None if rate is None else rate / sample_rate
    return Encoder(
        name=name,
        layer=target.name,
        sample_rate=sample_rate,
        rate=rate,
        offset=config.first_centre if frames else 0.0,
        dim=dim,
        run=lambda wavs: [_windows(wav.float(), window, per_sample, run) for wav in wavs],
    )


def open_session(file: str) -> Any:
    """A session of one thread on the CPU.

    Raises:
        CodecError: when onnxruntime is not installed, or the file is missing or no ONNX model.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise CodecError(f"{file}: needs onnxruntime; pip install 'codec[music]'") from None
    if not Path(file).is_file():
        raise CodecError(f"{file}: no such file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, torch.get_num_threads())
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # Its errors share no base class of their own.
        raise CodecError(f"{file}: onnxruntime cannot load it ({' '.join(str(error).split())[:200]})") from error


def _input(session: Any, model: str) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) not in (2, 3):
        found = ", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
        raise CodecError(f"{model}: expected one float input of samples (B, n) or (B, 1, n), found {found}")
    batch, *channels, _ = inputs[0].shape
    if (isinstance(batch, int) and batch != 1) or (channels and channels[0] != 1):
        raise CodecError(f"{model}: expected samples (B, n) or (B, 1, n), found {inputs[0].shape}")
    return inputs[0]


def _output(session: Any, config: EncoderConfig) -> Any:
    outputs = {item.name: item for item in session.get_outputs()}
    name = config.output or next(iter(outputs))
    if name not in outputs:
        raise CodecError(f"{config.model}: no output {name!r}; there are {', '.join(outputs)}")
    if len(outputs[name].shape) not in (2, 3):
        raise CodecError(
            f"{config.model}: output {name} has shape {outputs[name].shape}; expected (B, D) or (B, T, D)"
        )
    return outputs[name]


def _windows(wav: Tensor, window: int | None, per_sample: float | None, run: Run) -> Tensor:
    """Run a clip whole, or by windows of the model's own length."""
    if window is None:
        return run(wav)
    if per_sample is None:
        padded = F.pad(wav, (0, -len(wav) % window))
        return torch.stack([run(piece)[0] for piece in padded.split(window)]).mean(dim=0, keepdim=True)
    kept = int(window * per_sample + 1e-6)
    count, advance = max(1, round(len(wav) * per_sample)), kept / per_sample
    starts = [round(number * advance) for number in range(-(-count // kept))]
    padded = F.pad(wav, (0, max(0, starts[-1] + window - len(wav))))
    return torch.cat([run(padded[start : start + window])[:kept] for start in starts])[:count]
