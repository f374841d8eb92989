"""Imported models against the original implementations, with the same weights, in one run."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from codec.bench.agreement import bundled_clip, variants
from codec.bench.registry import benchmark
from codec.bench.systems import noise
from codec.bench.types import BenchConfig, Table
from codec.errors import CodecError
from codec.importing.imported import import_checkpoint
from codec.importing.originals import ORIGINALS, Original, enliven
from codec.model.codec import Codec

_WARM_UP = 10
"""Frames that do not count."""
Seconds = tuple[float, float]
"""To encode, and to decode."""
Call = Callable[[], object]
Row = tuple[str | float, ...]


@benchmark("originals")
@torch.inference_mode()
def originals(config: BenchConfig) -> Table:
    """A clip at once, frame by frame where the original can, and how many codes are equal.

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
            rows.append((name, f"left out: {error}", "-", "-", "-", "-"))
            continue
        rows += _rows(name, original, config)
    columns = ("model", "implementation", "encode (x real time)", "decode", "ms of a frame", "equal codes")
    clock = "the processor's time" if config.threads == 1 else "by the clock"
    title = f"{config.seconds:g} s clip, {config.threads} thread(s), {clock}, the same random weights"
    return Table(title, columns, tuple(rows))


def _rows(name: str, original: Original, config: BenchConfig) -> list[Row]:
    enliven(original, bundled_clip(original.sample_rate))
    with tempfile.TemporaryDirectory() as folder:
        original.save(Path(folder))
        ours = import_checkpoint(folder).model
    equal, total = agreement(ours, original, config.clips)
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
        rows.append((name, who, *speeds, frames[who] or "-", f"{equal} of {total}"))
    return rows


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


def agreement(model: Codec, original: Original, clips: int) -> tuple[int, int]:
    """Equal codes, and all codes, of variants of the bundled clip, whose lengths are no multiples of the hop."""
    equal = total = 0
    for clip in variants(bundled_clip(model.sample_rate), clips):
        wav = clip[: len(clip) - (len(clip) % model.hop_length == 0)][None]
        theirs, codes = original.codes(wav), model.encode(wav).codes
        # SpeechTokenizer's own padding may make a frame more.
        equal += int((theirs[..., : codes.shape[2]] == codes).sum())
        total += codes.numel()
    return equal, total
