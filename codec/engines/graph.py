"""Steps of a single frame as CUDA graphs.

A frame is some two hundred small kernels, and starting them takes a GPU's host longer than the GPU needs
to run them. A graph is the same kernels, recorded once and started together. What it reads and writes
lies at fixed places: input, state, which rows move on, output. All slots are computed in every step; the
state of those that have nothing new stays what it was, so one graph serves every mix of slots::

    input (B, ...)  --+                                   +--> output (B, ...)
                      +--> step function of all B rows ---+
    state of B rows --+                                   +--> where the row moves: state of B rows
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from codec.engines.base import Computation
from codec.engines.torch import TorchEngine
from codec.errors import CodecError
from codec.model.network import Network
from codec.model.states import State, map_state
from codec.model.steps import StepFunction, Steps

_WARM_UP = 3
"""Steps before the recording: libraries load kernels and make plans, which must not be recorded."""


class GraphEngine:
    """PyTorch's modules, started as a graph for single frames, as of live streams; else as they are.

    A stream records its own graphs, for each number of codebooks, in its second step of a single frame:
    the first may be the end of a whole clip, or all that there is.
    """

    name = "graph"

    def __init__(self, model: Network):
        """Raise a :class:`CodecError` unless the model is on a CUDA device."""
        device = model.device.type
        if device != "cuda":
            raise CodecError(f"the engine graph needs a CUDA device, the model is on {device}; use torch")
        self._torch = TorchEngine(model)

    def encoding(self, num_codebooks: int) -> Computation:
        return replace(self._torch.encoding(num_codebooks), steps=GraphSteps)

    def decoding(self) -> Computation:
        return replace(self._torch.decoding(), steps=GraphSteps)


class GraphSteps(Steps):
    """:class:`codec.model.steps.Steps` whose single frames are graphs."""

    def __init__(self, function: StepFunction, batch: int, unit: int, min_rows: int = 1):
        super().__init__(function, batch, unit, min_rows)
        self._graphs: dict[tuple[int, ...], StepGraph] = {}
        self._seen: Counter[tuple[int, ...]] = Counter()

    def run(self, x: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """The next frames of some signals, or of all, in the order of ``rows``."""
        if x.shape[-1] != self.unit:
            return super().run(x, rows)
        shape = tuple(x.shape[1:])
        self._seen[shape] += 1
        if self._seen[shape] == 1:
            return super().run(x, rows)
        if shape not in self._graphs:
            self._graphs[shape] = StepGraph(self.compute, x.new_zeros(self.states.batch, *shape))
        graph, state = self._graphs[shape], self.states.take()
        # Another graph, a longer step, a reset or a loaded state has put other tensors there.
        if state is not graph.state:
            graph.set_state(state)
            self.states.hold(graph.state)
        return graph(x, rows)


class StepGraph:
    """One recorded step of a batch.

    Attributes:
        state: of all rows, where the graph reads and writes it.
    """

    def __init__(self, function: Callable[[Tensor, State], tuple[Tensor, State]], silence: Tensor):
        """``silence (B, ...)``: any input of one frame for every row; the graph's input lies there."""
        self._function = function
        self._input = silence
        self._output = silence
        self._moves = silence.new_ones(len(silence), dtype=torch.bool)
        self._rows: list[int] | None = None
        self._index = torch.arange(len(silence), device=silence.device)
        _, state = function(silence, None)
        self.state: State = map_state(lambda tensor: tensor.new_zeros(tensor.shape), state)
        self._replay = record(self._step, silence.device)

    def set_state(self, state: State) -> None:
        """Copy the states of all rows to where the graph wants them; ``None`` is silence."""
        if state is None:
            map_state(torch.Tensor.zero_, self.state)
        else:
            map_state(lambda own, new: own.copy_(new), self.state, state)

    def __call__(self, x: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """One frame of ``rows``, in increasing order, or of all: ``(rows, ...)`` to ``(rows, ...)``."""
        self._select(None if rows is None or len(rows) == len(self._input) else list(rows))
        if self._rows is None:
            self._input.copy_(x)
        else:
            self._input.index_copy_(0, self._index, x)
        self._replay()
        # No view: the next step writes there again.
        return self._output.clone() if self._rows is None else self._output[self._index]

    def _select(self, rows: list[int] | None) -> None:
        """Choose the rows that move on."""
        if rows == self._rows:
            return
        self._rows = rows
        if rows is None:
            self._moves.fill_(True)
        else:
            self._index = torch.tensor(rows, device=self._input.device)
            self._moves.fill_(False).index_fill_(0, self._index, True)

    def _step(self) -> None:
        self._output, state = self._function(self._input, self.state)
        map_state(self._keep, self.state, state)

    def _keep(self, old: Tensor, new: Tensor) -> Tensor:
        moves = self._moves.view(-1, *[1] * (old.ndim - 1))
        return torch.where(moves, new, old, out=old)


def record(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Record ``step``, whose kernels neither wait for the device nor depend on values, for replay.

    Raises:
        CodecError: when they cannot be recorded.
    """
    try:
        with torch.cuda.device(device):
            # On a side stream, as the recording demands of all work before it.
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    step()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads may keep using the device.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                step()
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise CodecError(f"the engine graph cannot record this model here ({reason}); use torch") from None
    return graph.replay
