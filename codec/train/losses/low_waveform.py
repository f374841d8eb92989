"""Distance of waveforms below a frequency, as complex spectra."""

from dataclasses import dataclass

from torch import Tensor, nn

from codec.audio.spectrum import Spectrum, squared_magnitude
from codec.errors import CodecError
from codec.model.spectral.noise import fall
from codec.train.losses.registry import (
    SHORTEST_WINDOW,
    LossContext,
    check_least,
    check_min_codebooks,
    loss,
    of_codebooks,
)
from codec.train.types import LossInput

_SQUARE_FLOOR = 1e-10


@loss("low_waveform")
class LowWaveformLoss(nn.Module):
    """``mean_b [ a_b mean |X_b - Y_b| / sqrt(mean |Y_b|^2 + floor) ]``: an error relative to the crop's level.

    X and Y are complex spectra, means weigh low frequencies alone, and ``a_b`` is 1 for clips that are decoded from
    ``min_codebooks`` or more, else 0.

    Codes of a decoder that draws phases need not say what phases are, and codes that learn together with it forget
    them everywhere. Naturalness and the likeness of voices need them at the lowest harmonics, where a voice's
    waveform can be followed; this asks for it there alone.
    """

    weight: Tensor

    @dataclass(frozen=True)
    class Config:
        """Where, and at which resolution."""

        below: float = 850.0
        """Hz, where the weight is a half; it falls within an octave."""
        n_fft: int = 640
        """Samples of the window; frames overlap by three quarters."""
        min_codebooks: int = 1
        """Codebooks from which on a clip counts. Fewer do not carry phases, and the least error is then silence."""
        floor_db: float = -54.0
        """Mean square of a bin, in dB of a full-scale bin's, that keeps silence from weighing much."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        if not 0 < config.below < context.sample_rate / 4:
            raise CodecError(
                f"losses.{context.name}: below must lie within the lower half of the spectrum, got {config.below} Hz"
            )
        check_least(context, "n_fft", [config.n_fft], SHORTEST_WINDOW)
        check_min_codebooks(config.min_codebooks, context)
        self.config = config
        self.floor = 10 ** (config.floor_db / 10)
        self.spectrum = Spectrum(config.n_fft, config.n_fft // 4, normalized=True)
        weight = fall(2 * config.below / context.sample_rate, config.n_fft // 2 + 1).square()
        self.register_buffer("weight", weight / weight.sum(), persistent=False)

    def forward(self, inputs: LossInput) -> Tensor:
        real, fake = self.spectrum(inputs.real), self.spectrum(inputs.fake)
        error = (squared_magnitude(fake - real) + _SQUARE_FLOOR).sqrt() @ self.weight
        level = squared_magnitude(real) @ self.weight
        relative = error.mean(1) / (level.mean(1) + self.floor).sqrt()
        return of_codebooks(relative, inputs, self.config.min_codebooks).mean()
