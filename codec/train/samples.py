"""Audio and spectrograms of a few clips, for listening during a run."""

from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from codec.audio.mel import MelSpectrogram
from codec.data.store import AudioStore
from codec.model.codec import Codec

SAMPLES = 3
SECONDS = 5.0


def log_samples(accelerator: Accelerator, model: Codec, store: AudioStore, step: int) -> None:
    """Decode the starts of a few clips and hand original and copy to the tracker, if there is one."""
    if not accelerator.trackers:
        return
    tracker = accelerator.trackers[0]
    images = {}
    for number, clip in enumerate(sample_clips(store)):
        real = torch.from_numpy(store.read(clip, 0, round(SECONDS * store.sample_rate)))
        fake = model.decode(model.encode(real))[0]
        _log_audio(tracker, f"sample/{number}", real, fake, store.sample_rate, step)
        images[f"spectrogram/{number}"] = spectrogram_image(real, fake, store.sample_rate)[None]
    tracker.log_images(images, step=step, **_image_options(tracker.name))


def sample_clips(store: AudioStore) -> list[int]:
    """Evenly spread clips that have audio; the same in every call."""
    usable = np.flatnonzero(store.lengths)
    return [int(usable[number * len(usable) // SAMPLES]) for number in range(min(SAMPLES, len(usable)))]


def spectrogram_image(real: Tensor, fake: Tensor, sample_rate: int) -> np.ndarray:
    """Log-mel pictures of two waveforms ``(T,)``, the first above, low frequencies below.

    Returns:
        ``(height, width, 3)`` uint8; 80 dB below the loudest point of the first is black.
    """
    mel = MelSpectrogram(sample_rate, 1024, 256, 80)
    levels = [20 * mel(wav[None])[0].clamp(min=1e-7).log10().t() for wav in (real, fake)]
    peak = levels[0].max()
    bright = torch.cat([((level - peak) / 80 + 1).clamp(0, 1).flip(0) for level in levels])
    return (bright * 255).round().to(torch.uint8)[:, :, None].expand(-1, -1, 3).contiguous().numpy()


def _log_audio(tracker: Any, name: str, real: Tensor, fake: Tensor, rate: int, step: int) -> None:
    for kind, wav in (("original", real), ("decoded", fake)):
        if tracker.name == "tensorboard":
            tracker.writer.add_audio(f"{name}/{kind}", wav[None], step, rate)
        else:
            import wandb

            tracker.run.log({f"{name}/{kind}": wandb.Audio(wav.numpy(), sample_rate=rate)}, step=step)


def _image_options(tracker_name: str) -> dict[str, str]:
    return {"dataformats": "NHWC"} if tracker_name == "tensorboard" else {}
