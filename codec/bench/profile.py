"""Time of a step by kind of work, for a whole clip and for a single frame of a stream."""

import json
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity

from codec.bench.measure import seconds_of
from codec.bench.registry import benchmark
from codec.bench.systems import noise
from codec.bench.types import BenchConfig, Table
from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.files import load_model
from codec.model.states import State
from codec.model.steps import StepFunction

_KINDS = {
    # An exported quantizer is the only place of this operator; in PyTorch its shape identifies it.
    "distances to codes": r"Gemm|distances",
    "choice of codes, their vectors": r"ArgMax|Gather|aten::(argmax|index)",
    "linear layers, Fourier by products": r"MatMul|aten::(addmm|mm|bmm)",
    "Fourier transform": r"aten::_fft|DFT",
    "depthwise convolutions": r"Conv|Reorder|aten::.*conv",
    "GELU": r"(Bias)?Gelu|aten::gelu",
    "layer norm": r"LayerNorm|aten::native_layer_norm",
}
_REST = "element by element, copies, shapes"
_CLIPS, _FRAMES = 5, 200


@dataclass(frozen=True)
class _Profile:
    """Milliseconds of a run, by kind of work with the profiler, and in all without it."""

    kinds: Counter[str]
    total: float


@benchmark("profile")
@torch.inference_mode()
def profile(config: BenchConfig) -> Table:
    """Milliseconds and shares by kind of work, as the engine's own profiler says."""
    model = load_model(config.model, "cpu", config.engine)
    if model.engine.name not in _PROFILERS:
        raise CodecError(f"no profile of the engine {model.engine.name}; choose {' or '.join(_PROFILERS)}")
    wav = noise(config.seconds, model.sample_rate)[
        :, : int(config.seconds * model.config.frame_rate) * model.hop_length
    ]
    inputs = {"encode": wav, "decode": model.encode(wav).codes}
    rows: list[tuple[str | float, ...]] = []
    for part, x in inputs.items():
        unit = model.hop_length if part == "encode" else 1
        clip = _profiled(model, part, x, x.shape[-1], _CLIPS)
        frame = _profiled(model, part, x, unit, _FRAMES)
        rows += [
            (part, kind, *_cells(clip, kind), *_cells(frame, kind))
            for kind in (*_KINDS, _REST)
            if clip.kinds[kind] or frame.kinds[kind]
        ]
        rows.append((part, "all, without the profiler", clip.total, 100, frame.total, 100))
    columns = ("step", "kind of work", "clip (ms)", "%", "frame (ms)", "%")
    title = (
        f"{config.seconds:g} s clip and single frames, engine {model.engine.name}, {config.threads} thread(s)"
    )
    return Table(title, columns, tuple(rows))


def _cells(found: _Profile, kind: str) -> tuple[float, float]:
    return found.kinds[kind], 100 * found.kinds[kind] / sum(found.kinds.values())


def _profiled(model: Codec, part: str, x: Tensor, size: int, runs: int) -> _Profile:
    """``runs`` steps of ``size`` samples or codes of ``x``."""
    plain = _step(model, part)
    _run(plain, x, size, 2)
    total = seconds_of(lambda: _run(plain, x, size, runs)) / runs
    return _Profile(_PROFILERS[model.engine.name](model, part, x, size, runs), 1000 * total)


def _step(model: Codec, part: str) -> StepFunction:
    engine = model.engine
    return (engine.encoding(model.num_codebooks) if part == "encode" else engine.decoding()).function


def _run(function: StepFunction, x: Tensor, size: int, runs: int) -> None:
    """Clips start from silence, and frames follow each other."""
    state: State = None
    for _ in range(runs):
        _, new = function(x[..., :size], state)
        state = new if size < x.shape[-1] else None


def _torch_kinds(model: Codec, part: str, x: Tensor, size: int, runs: int) -> Counter[str]:
    function = _step(model, part)
    with torch.profiler.profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        _run(function, x, size, runs)
    vectors = model.quantizer.vectors()
    codebook = list(vectors[0].t().shape) if vectors else None
    kinds: Counter[str] = Counter()
    for event in found.key_averages(group_by_input_shape=True):
        distances = event.key == "aten::addmm" and codebook in event.input_shapes
        kinds[_kind("distances" if distances else event.key)] += event.self_cpu_time_total / 1000 / runs
    return kinds


def _onnx_kinds(model: Codec, part: str, x: Tensor, size: int, runs: int) -> Counter[str]:
    from codec.engines.onnx import OnnxEngine

    engine = model.engine
    assert isinstance(engine, OnnxEngine)
    with tempfile.TemporaryDirectory() as folder:
        model.engine = profiled = OnnxEngine(model, engine.folder, Path(folder))
        try:
            _run(_step(model, part), x, size, runs + 1)
            (path,) = profiled.profiles().values()
        finally:
            model.engine = engine
        events = json.loads(path.read_text(encoding="utf-8"))
    # The first run finds memory.
    start = sorted(event["ts"] for event in events if event["name"] == "model_run")[1]
    kinds: Counter[str] = Counter()
    for event in events:
        if event["name"].endswith("_kernel_time") and event["ts"] >= start:
            kinds[_kind(event["args"]["op_name"])] += event["dur"] / 1000 / runs
    return kinds


def _kind(operator: str) -> str:
    return next((kind for kind, pattern in _KINDS.items() if re.match(pattern, operator)), _REST)


_PROFILERS = {"onnx": _onnx_kinds, "torch": _torch_kinds}
