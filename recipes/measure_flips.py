"""Count codes that depend on how they are computed: streams, batches and engines against the whole clip.

Float rounding differs between shapes of a matrix product, and a latent half-way between two codes can
then go to the other one. Prints, for each way, the codes that differ from ``model.encode`` of the clip
alone, and the greatest difference of decoded audio.

``python recipes/measure_flips.py model=default manifest=clips.jsonl codes=1000000``
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.audio.io import load_audio
from codec.bench.agreement import batch_codes, slots_codes, stream_codes
from codec.cli.recipe import run_recipe
from codec.data.manifest import read_manifest
from codec.engines.torch import TorchEngine
from codec.model.codec import Codec
from codec.model.files import load_model

GROUP = 8
"""Clips of one padded batch, and slots of one stream."""


@dataclass(frozen=True)
class FlipsConfig:
    """Settings of the measurement."""

    manifest: str
    model: str = "default"
    device: str = "cpu"
    codes: int = 1_000_000
    """Codes to compare, at least, for each way."""
    slow_codes: int = 200_000
    """The same for ways that take one frame of one clip at a time."""
    sound_clips: int = 8
    """Clips whose audio is compared too."""
    threads: int = 1
    min_rows: int | None = None
    """Least frames of one step, instead of the model's own; 1 shows what streams would do without."""
    engine: str = "torch"
    """Engine as for ``codec encode``; its codes of whole clips are compared with PyTorch's too."""


def stream_sound(model: Codec, codes: Tensor, num_samples: int, deterministic: bool) -> Tensor:
    """``(T,)`` of codes ``(K, F)`` pushed one frame at a time."""
    decoder = model.streaming_decoder(deterministic=deterministic)
    wav = [decoder.push(frame[None], num_samples=num_samples)[0] for frame in codes.split(1, dim=1)]
    return torch.cat([*wav, decoder.flush()[0]])


def torch_codes(model: Codec, wav: Tensor) -> Tensor:
    """Codes ``(K, F)`` of a clip by PyTorch, whatever the model's engine is."""
    engine, model.engine = model.engine, TorchEngine(model)
    codes = model.encode(wav).codes[0]
    model.engine = engine
    return codes


def groups(config: FlipsConfig, model: Codec) -> Iterator[list[Tensor]]:
    """Clips by eights, until there are enough codes."""
    clips, done, wavs = read_manifest(config.manifest), 0, []
    for clip in clips:
        wavs.append(load_audio(clip.audio, model.sample_rate).wav)
        done += model.num_frames(len(wavs[-1])) * model.num_codebooks
        if len(wavs) == GROUP or done >= config.codes:
            yield wavs
            wavs = []
        if done >= config.codes:
            return
    print(f"the manifest ended after {done} of {config.codes} codes")
    if wavs:
        yield wavs


def measure(model: Codec, wavs: list[Tensor], slow: bool) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield for every clip and arrangement: its name, its codes and those of the clip alone, ``(K, F)``."""
    alone = [model.encode(wav).codes[0] for wav in wavs]
    if not isinstance(model.engine, TorchEngine):
        for wav, codes in zip(wavs, alone, strict=True):
            yield f"{model.engine.name} against torch", codes, torch_codes(model, wav)
    for codes, expected in zip(batch_codes(model, wavs), alone, strict=True):
        yield f"batch of {GROUP}, padded", codes, expected
    for codes, expected in zip(slots_codes(model, wavs), alone, strict=True):
        yield f"stream of {GROUP}, single frames", codes, expected
    rng = random.Random(0)
    for wav, expected in zip(wavs, alone, strict=True):
        codes = stream_codes(model, wav, False, lambda: rng.randrange(1, 64 * model.hop_length))
        yield "stream of 1, random pieces", codes, expected
        if slow:
            codes = stream_codes(model, wav, False, lambda: model.hop_length)
            yield "stream of 1, single frames", codes, expected
            whole = model.encode(wav, deterministic=True).codes[0]
            codes = stream_codes(model, wav, True, lambda: model.hop_length)
            yield "deterministic stream, single frames", codes, whole


def sound_difference(model: Codec, wav: Tensor, deterministic: bool) -> float:
    """Greatest difference of the audio of single frames from that of the whole clip."""
    tokens = model.encode(wav, deterministic=deterministic)
    whole = model.decode(tokens, deterministic=deterministic)[0]
    streamed = stream_sound(model, tokens.codes[0], len(wav), deterministic)
    return float((whole - streamed).abs().max())


@torch.inference_mode()
def main(config: FlipsConfig) -> None:
    """Print the differing codes of every way."""
    torch.set_num_threads(config.threads)
    model = load_model(config.model, config.device, config.engine)
    if config.min_rows is not None:
        model.encoder.min_rows = model.decoder.min_rows = config.min_rows
    counts: dict[str, list[int]] = {}
    audio, compared = {False: 0.0, True: 0.0}, 0
    for wavs in groups(config, model):
        slow = counts.get("stream of 1, single frames", [0, 0])[1] < config.slow_codes
        for name, codes, expected in measure(model, wavs, slow):
            count = counts.setdefault(name, [0, 0])
            count[0] += int((codes != expected).sum())
            count[1] += expected.numel()
        for wav in wavs[: max(0, config.sound_clips - compared)]:
            for mode, greatest in audio.items():
                audio[mode] = max(greatest, sound_difference(model, wav, mode))
        compared += len(wavs)
    for name, (flips, total) in counts.items():
        print(f"{name}: {flips} of {total} codes differ ({flips / total:.1e})")
    for mode, difference in audio.items():
        print(f"audio of single frames{', deterministic' if mode else ''}: at most {difference:.1e} apart")


if __name__ == "__main__":
    sys.exit(run_recipe(FlipsConfig, main, __doc__))
