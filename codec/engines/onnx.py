"""The step functions in ONNX Runtime."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.engines import layout
from codec.engines.base import Computation
from codec.engines.torch import TorchEngine
from codec.errors import CodecError
from codec.model.fingerprint import decoder_fingerprint, fingerprint
from codec.model.network import Network
from codec.model.stamp import Stamp, stamp_of
from codec.model.states import State, map_state, tensors_of
from codec.model.steps import StepFunction
from codec.quantizers import ABSENT

if TYPE_CHECKING:
    import onnxruntime

_ERRORS_ONLY = 3


class OnnxEngine:
    """Graphs of ``codec export``; each is loaded when it is first needed.

    States are flat lists of the tensors that PyTorch's have, in the same order, so a stream saved with one
    engine continues with the other.
    """

    name = "onnx"

    def __init__(self, model: Network, folder: Path, profile: Path | None = None):
        """
        Args:
            model: on the CPU.
            folder: of the graphs.
            profile: folder for the runtime's profiles, which :meth:`profiles` completes.

        Raises:
            CodecError: when ONNX Runtime is missing, or the model is not on the CPU.
        """
        _runtime()
        device = model.device.type
        if device != "cpu":
            raise CodecError(f"the engine onnx computes on the CPU, the model is on {device}; use device cpu")
        self.model = model
        self.folder = folder
        self._profile = profile
        # With the stamp of the weights that a session has.
        self._sessions: dict[str, tuple[Stamp, onnxruntime.InferenceSession]] = {}

    def encoding(self, num_codebooks: int) -> Computation:
        run = _Session(self._session(layout.ENCODER))

        def function(wav: Tensor, state: State = None) -> tuple[Tensor, State]:
            codes, state = run(wav, state)
            return codes[:, :num_codebooks], state

        return Computation(function, run.min_rows, end=self._end(num_codebooks))

    def decoding(self) -> Computation:
        run = _Session(self._session(layout.DECODER))
        layers = self.model.num_codebooks

        def function(codes: Tensor, state: State = None) -> tuple[Tensor, State]:
            if codes.shape[1] < layers:
                codes = F.pad(codes, (0, 0, 0, layers - codes.shape[1]), value=ABSENT)
            return run(codes, state)

        return Computation(function, run.min_rows)

    def _end(self, num_codebooks: int) -> StepFunction | None:
        """A graph takes whole frames only, so PyTorch computes an end that is none."""
        if not self.model.encoder.any_end:
            return None

        def end(wav: Tensor, state: State = None) -> tuple[Tensor, State]:
            function = TorchEngine(self.model).encoding(num_codebooks).function
            if state is not None:
                tensors = iter(tensors_of(state))
                like = function(wav.new_zeros(1, self.model.hop_length))[1]
                state = map_state(lambda _: next(tensors), like)
            return function(wav, state)

        return end

    def _session(self, name: str) -> "onnxruntime.InferenceSession":
        stamp = stamp_of(self.model)
        if name not in self._sessions or self._sessions[name][0] != stamp:
            self._sessions[name] = stamp, _load(self.model, self.folder, name, self._profile)
        return self._sessions[name][1]

    def __getstate__(self) -> dict[str, Any]:
        """A session cannot leave its process; it is made again where the engine is copied or sent to."""
        return self.__dict__ | {"_sessions": {}}

    def profiles(self) -> dict[str, Path]:
        """End the profiles of the graphs that were used: name of the graph to its JSON file."""
        return {name: Path(session.end_profiling()) for name, (_, session) in self._sessions.items()}


class _Session:
    """A graph as a step function: torch to numpy and back shares memory."""

    def __init__(self, session: "onnxruntime.InferenceSession"):
        self.session = session
        first, *states = session.get_inputs()
        self.names = [first.name, *(state.name for state in states)]
        self.shapes = [state.shape[1:] for state in states]
        metadata = session.get_modelmeta().custom_metadata_map
        self.min_rows = int(metadata.get(layout.MIN_ROWS_KEY, 1))

    def __call__(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if state is None:
            arrays = [np.zeros((x.shape[0], *shape), np.float32) for shape in self.shapes]
        else:
            arrays = [tensor.numpy() for tensor in tensors_of(state)]
        feeds = dict(zip(self.names, (x.numpy(), *arrays), strict=True))
        y, *new = self.session.run(None, feeds)
        return torch.from_numpy(y), [torch.from_numpy(array) for array in new]


def _runtime() -> Any:
    """The package.

    Raises:
        CodecError: when it is not installed.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise CodecError("the engine onnx needs onnxruntime; run: pip install 'codec[onnx]'") from None
    return onnxruntime


def _load(
    model: Network, folder: Path, name: str, profile: Path | None = None
) -> "onnxruntime.InferenceSession":
    """A session in as many threads as torch has.

    Raises:
        CodecError: when the graph is damaged, or of another model.
    """
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    # Plans of memory are kept for every shape that was ever seen: a stream would grow.
    options.enable_mem_pattern = False
    options.log_severity_level = _ERRORS_ONLY
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile / Path(name).stem)
    weights = _weights(model, folder, name)
    if weights:
        values = [runtime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    try:
        session = runtime.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  (the exceptions of the runtime have no common class)
        reason = " ".join(str(error).split())[:200]
        raise CodecError(f"{folder / name}: cannot be loaded ({reason}); run codec export again") from None
    _check(model, folder / name, session.get_modelmeta().custom_metadata_map)
    return session


def _weights(model: Network, folder: Path, name: str) -> dict[str, np.ndarray]:
    """The tensors that a graph without weights needs from the model."""
    facts = layout.read_graphs_file(folder)
    if facts is None:
        return {}
    if not layout.graphs_fit(model, folder):
        raise CodecError(f"{folder}: graphs of a model with another config; run codec export again")
    tensors = model.state_dict()
    names = facts.encoder if name == layout.ENCODER else facts.decoder
    return {tensor: tensors[tensor].detach().float().contiguous().numpy() for tensor in names}


def _check(model: Network, path: Path, metadata: dict[str, str]) -> None:
    """Raise a :class:`CodecError` unless a graph is of this model."""
    if metadata.get(layout.FORMAT_KEY) != layout.FORMAT:
        raise CodecError(f"{path}: no graph of this version of codec; run codec export again")
    if not layout.config_fits(model, metadata.get(layout.CONFIG_KEY)):
        raise CodecError(f"{path}: of a model with another config; run codec export again")
    decodes = path.name == layout.DECODER
    found = metadata.get(layout.DECODER_KEY if decodes else layout.FINGERPRINT_KEY)
    # Graphs without weights are of no model.
    if found is None:
        return
    expected = decoder_fingerprint(model) if decodes else fingerprint(model)
    if found != expected and (decodes or not model.aliases.cover(expected, found)):
        raise CodecError(f"{path}: of model {found}, this is {expected}; export this model")
