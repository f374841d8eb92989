"""Sample-rate conversion by soxr."""

import soxr
import torch
from torch import Tensor


def resample(wav: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Resample one clip ``(T,)``, float32; at least one sample comes back."""
    if source_rate == target_rate:
        return wav
    output = soxr.resample(wav.cpu().numpy(), source_rate, target_rate)
    converted = torch.from_numpy(output)
    return converted if len(converted) else wav[:1].cpu()
