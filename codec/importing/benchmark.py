"""Imported models against the original implementations, with the same weights, in one run."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from codec.bench.agreement import bundled_clip
from codec.bench.registry import benchmark
from codec.bench.systems import noise
from codec.bench.types import BenchConfig, Table
from codec.console import counted
from codec.errors import CodecError
from codec.importing.imported import import_checkpoint
from codec.importing.originals import ORIGINALS, Original, enliven
from codec.importing.yardstick import Agreement, Unlike, measure, odd_clips, other_threads
from codec.model.codec import Codec

_COLUMNS = (
    "model",
    "by",
    "encode",
    "decode",
    "ms a frame",
    "codes",
    "not the original's",
    "not float64's",
)
_WARM_UP = 10
"""Frames that do not count."""
Seconds = tuple[float, float]
"""To encode, and to decode."""
Call = Callable[[], object]
Row = tuple[str | float, ...]


@benchmark("originals")
@torch.inference_mode()
def originals(config: BenchConfig) -> Table:
    """A clip at once, frame by frame where the original can, and how many codes differ.

    What they are compared with is in :mod:`codec.importing.yardstick`.

    Every model has its turn twice in each round, first and last: the second row of ours is the control.
    """
    rows: list[Row] = []
    for name in config.baselines:
        if name not in ORIGINALS:
            continue
        torch.manual_seed(0)
        try:
            original = ORIGINALS.find(name)()
        except (CodecError, ImportError) as error:
            rows.append((name, f"left out: {error}", *["-"] * (len(_COLUMNS) - 1)))
            continue
        rows += _rows(name, original, config)
    columns = (*_COLUMNS, f"not its own with {counted(other_threads(), 'thread')}")
    clock = "the processor's time" if config.threads == 1 else "by the clock"
    clip = f"{config.seconds:g} s clip in multiples of real time, {counted(config.threads, 'thread')}, {clock}"
    title = f"{clip}, the same random weights; codes that differ, in how many frames"
    return Table(title, columns, tuple(rows))


def _rows(name: str, original: Original, config: BenchConfig) -> list[Row]:
    enliven(original, bundled_clip(original.sample_rate))
    with tempfile.TemporaryDirectory() as folder:
        original.save(Path(folder))
        ours = import_checkpoint(folder).model
    found = measure(ours, original, odd_clips(ours, config.clips))
    codes = {"codec": found.ours, original.project: found.theirs}
    wav = noise(config.seconds, ours.sample_rate)
    wav = wav[:, : wav.shape[1] // ours.hop_length * ours.hop_length]
    systems: dict[str, Codec | Original] = {"codec": ours, original.project: original, "codec again": ours}
    calls = {who: _calls(system, wav) for who, system in systems.items()}
    seconds: dict[str, list[Seconds]] = {who: [] for who in systems}
    # The first round does not count.
    for _ in range(config.repeats + 1):
        for who, (encode, decode) in calls.items():
            seconds[who].append((_seconds(encode), _seconds(decode)))
    frames = {who: _frame(system, ours, config.frames) for who, system in systems.items()}
    rows: list[Row] = []
    for who, rounds in seconds.items():
        speeds = [config.seconds / median(each[part] for each in rounds[1:]) for part in (0, 1)]
        rows.append((name, who, *speeds, frames[who] or "-", *_codes(found, codes.get(who))))
    return rows


def _codes(found: Agreement, unlike: Unlike | None) -> Row:
    """The columns of an implementation's codes; the control row has none."""
    if unlike is None:
        return ("-",) * 4
    original = "-" if unlike is found.theirs else str(unlike.original)
    return found.compared.codes, original, str(unlike.exact), str(unlike.threads)


def _seconds(call: Call) -> float:
    """Of one thread the processor's time, which other processes do not lengthen."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    call()
    return clock() - start


def _calls(system: Codec | Original, wav: Tensor) -> tuple[Call, Call]:
    """What encodes the clip, and what decodes its codes."""
    if isinstance(system, Codec):
        tokens = system.encode(wav)
        return lambda: system.encode(wav), lambda: system.decode(tokens)
    codes = system.codes(wav)
    return lambda: system.codes(wav), lambda: system.decode(codes)


def _frame(system: Codec | Original, ours: Codec, count: int) -> float | None:
    """Mean milliseconds to encode and decode a frame of a stream; ``None`` where it cannot stream."""
    step = _stream(system) if isinstance(system, Codec) else system.step(ours.hop_length)
    if step is None:
        return None
    frame = noise(ours.hop_length / ours.sample_rate, ours.sample_rate)
    for _ in range(_WARM_UP):
        step(frame)
    return 1000 * _seconds(lambda: [step(frame) for _ in range(count)]) / count


def _stream(model: Codec) -> Callable[[Tensor], object] | None:
    if not model.causal:
        return None
    encoder, decoder = model.streaming_encoder(), model.streaming_decoder()
    return lambda wav: decoder.push(encoder.push(wav))
