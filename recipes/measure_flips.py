"""How many codes depend on the way a recording is cut: streams and batches against the whole clip.

Float rounding differs between shapes of a matrix product, and a latent half-way between two codes can
then go to the other one. Prints, for each way, the codes that differ from ``model.encode`` of the clip
alone, and the greatest difference of decoded sound.

``python recipes/measure_flips.py model=default manifest=clips.jsonl codes=1000000``
"""

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from codec.audio.io import load_audio
from codec.data.manifest import read_manifest
from codec.model import steps
from codec.model.codec import Codec
from codec.model.files import load_model
from codec.train.recipe import run_recipe

GROUP = 8
"""Clips of one padded batch."""


@dataclass(frozen=True)
class FlipsConfig:
    """What is measured."""

    manifest: str
    model: str = "default"
    device: str = "cpu"
    codes: int = 1_000_000
    """Codes to compare, at least, for each way."""
    sound_clips: int = 8
    """Clips whose sound is compared too."""
    threads: int = 1
    min_rows: int = steps.MIN_ROWS
    """Least frames of one step; 1 shows what streams would do without this floor."""
    deterministic: bool = True
    """Also measure the deterministic mode."""


def stream_codes(model: Codec, wav: Tensor, deterministic: bool, sizes: Callable[[], int]) -> Tensor:
    """Codes ``(K, F)`` of ``wav (T,)`` pushed in pieces of so many samples."""
    encoder = model.streaming_encoder(deterministic=deterministic)
    codes, start = [], 0
    while start < len(wav):
        size = sizes()
        codes.append(encoder.push(wav[start : start + size])[0])
        start += size
    return torch.cat([*codes, encoder.flush()[0]], dim=1)


def stream_sound(model: Codec, codes: Tensor, num_samples: int, deterministic: bool) -> Tensor:
    """``(T,)`` of codes ``(K, F)`` pushed one frame at a time."""
    decoder = model.streaming_decoder(deterministic=deterministic)
    wav = [decoder.push(frame[None], num_samples=num_samples)[0] for frame in codes.split(1, dim=1)]
    return torch.cat([*wav, decoder.flush()[0]])


def batch_codes(model: Codec, wavs: list[Tensor]) -> list[Tensor]:
    """Codes of clips padded to one length."""
    lengths = torch.tensor([len(wav) for wav in wavs])
    tokens = model.encode(pad_sequence(wavs, batch_first=True), lengths=lengths)
    return [tokens[index].codes[0] for index in range(len(wavs))]


def groups(config: FlipsConfig, model: Codec) -> Iterator[list[Tensor]]:
    """Clips by eights, over and over, until there are enough codes."""
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


def measure(model: Codec, wavs: list[Tensor], deterministic: bool) -> Iterator[tuple[str, Tensor, Tensor]]:
    """For every clip and way: the way's name, its codes and those of the clip alone, ``(K, F)``."""
    alone = [model.encode(wav, deterministic=deterministic).codes[0] for wav in wavs]
    rng = random.Random(0)
    if not deterministic:
        for codes, expected in zip(batch_codes(model, wavs), alone, strict=True):
            yield "batch of 8, padded", codes, expected
        for wav, expected in zip(wavs, alone, strict=True):
            codes = stream_codes(model, wav, False, lambda: rng.randrange(1, 64 * model.hop_length))
            yield "stream, random pieces", codes, expected
    name = "deterministic stream, single frames" if deterministic else "stream, single frames"
    for wav, expected in zip(wavs, alone, strict=True):
        yield name, stream_codes(model, wav, deterministic, lambda: model.hop_length), expected


@torch.inference_mode()
def main(config: FlipsConfig) -> None:
    """Print the differing codes of every way."""
    torch.set_num_threads(config.threads)
    steps.MIN_ROWS = config.min_rows
    model = load_model(config.model, config.device)
    modes = [False, True] if config.deterministic else [False]
    counts: dict[str, list[int]] = {}
    sound: dict[bool, float] = dict.fromkeys(modes, 0.0)
    heard = 0
    for wavs in groups(config, model):
        for mode in modes:
            for name, codes, expected in measure(model, wavs, mode):
                count = counts.setdefault(name, [0, 0])
                count[0] += int((codes != expected).sum())
                count[1] += expected.numel()
            for wav in wavs[: max(0, config.sound_clips - heard)]:
                tokens = model.encode(wav, deterministic=mode)
                whole = model.decode(tokens, deterministic=mode)[0]
                streamed = stream_sound(model, tokens.codes[0], len(wav), mode)
                sound[mode] = max(sound[mode], float((whole - streamed).abs().max()))
        heard += len(wavs)
    for name, (flips, total) in counts.items():
        print(f"{name}: {flips} of {total} codes differ ({flips / total:.1e})")
    for mode, difference in sound.items():
        print(f"sound of single frames{', deterministic' if mode else ''}: at most {difference:.1e} apart")


if __name__ == "__main__":
    sys.exit(run_recipe(FlipsConfig, main, __doc__))
