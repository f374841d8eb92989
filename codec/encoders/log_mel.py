"""Log-mel spectrograms as an encoder without weights: the baseline that a trained one has to beat."""

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.encoders.base import Encoder, EncoderConfig
from codec.errors import CodecError
from codec.pretraining.models.config import LogMelConfig
from codec.pretraining.models.patches import LogMel

NAME = "log_mel"
OUTPUTS = ("statistics", "frames")


def is_log_mel(model: str) -> bool:
    """Whether a model's name is that of the spectrogram."""
    return model == NAME


def open_log_mel(config: EncoderConfig) -> Encoder:
    """The spectrogram that a patch encoder hears: 80 bands every 10 ms.

    ``output: statistics``, the default, is one vector for a clip, mean and standard deviation of each band;
    ``frames`` are the bands themselves.

    Raises:
        CodecError: for another output.
    """
    output = config.output or OUTPUTS[0]
    if output not in OUTPUTS:
        raise CodecError(f"{NAME}: output {output!r} is none of {', '.join(OUTPUTS)}")
    settings = LogMelConfig()
    front = LogMel(settings)
    statistics = output == "statistics"

    def encode(wav: Tensor) -> Tensor:
        if not statistics:
            # As many frames as the clip's length says: the last windows reach into silence.
            return front(F.pad(wav, (0, settings.n_fft - settings.hop_length))[None])[0].T
        bands = front(wav[None])[0].T
        return torch.cat([bands.mean(dim=0), bands.std(dim=0, correction=0)])[None]

    return Encoder(
        name=NAME,
        layer=output,
        sample_rate=settings.sample_rate,
        rate=None if statistics else settings.sample_rate / settings.hop_length,
        offset=0.0 if statistics else 0.5 * settings.n_fft / settings.sample_rate,
        dim=2 * settings.num_mels if statistics else settings.num_mels,
        run=lambda wavs: [encode(wav) for wav in wavs],
    )
