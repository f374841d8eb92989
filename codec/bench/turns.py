"""One version's turns in ``codec bench clips``: a script of its own, so that another version can run it too.

It uses nothing but the public functions, which every version has. Its first line on standard output is the
folder of the package that it found. Then each line on standard input asks for a turn, and each line on
standard output is the times of that turn, as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch

import codec

CLIP_CALLS = 5
FRAME_CALLS = 200


def milliseconds(call: Callable[[], object], times: int) -> float:
    """Median over so many calls."""
    # Of one thread the time that it computed, without the time for which others had its core.
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_initialized()
    clock = time.thread_time if alone else time.perf_counter
    found = []
    for _ in range(times):
        begun = clock()
        call()
        found.append(1000 * (clock() - begun))
    return median(found)


def turn(model: "codec.Codec", clip_seconds: list[float]) -> dict[str, float]:
    """Milliseconds of a clip to encode and to decode, and of a frame of a stream."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for seconds in clip_seconds:
        wav = 0.1 * torch.randn(1, round(seconds * model.sample_rate), generator=generator)
        tokens = model.encode(wav)
        found[f"encode {seconds:g} s"] = milliseconds(partial(model.encode, wav), CLIP_CALLS)
        found[f"decode {seconds:g} s"] = milliseconds(partial(model.decode, tokens), CLIP_CALLS)
    encoder, decoder = model.streaming_encoder(), model.streaming_decoder()
    frame = 0.1 * torch.randn(1, model.hop_length, generator=generator)
    # Where the first frames come together, one call of both has them behind it.
    codes = encoder.push(0.1 * torch.randn(1, encoder.latency.samples, generator=generator))
    decoder.push(codes)
    codes = codes[..., -1:]
    found["encode a frame of a stream"] = milliseconds(partial(encoder.push, frame), FRAME_CALLS)
    found["decode a frame of a stream"] = milliseconds(partial(decoder.push, codes), FRAME_CALLS)
    return found


def main() -> None:
    """``MODEL ENGINE DEVICE THREADS SECONDS...``"""
    name, engine, device, threads, *seconds = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = codec.load(name, device, engine)
    print(Path(codec.__file__).resolve().parent, flush=True)
    for _ in sys.stdin:
        print(json.dumps(turn(model, [float(value) for value in seconds])), flush=True)


if __name__ == "__main__":
    main()
