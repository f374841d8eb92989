"""Latent frames to waveform: an LSTM, then transposed convolutions between residual blocks."""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from codec.model.registry import Decoder
from codec.model.seanet.blocks import LSTM, StatefulSequential, activation, convolution, residual_blocks
from codec.model.seanet.config import SeanetConfig
from codec.model.seanet.convolutions import ConvTranspose, frames_to_start
from codec.model.seanet.tiles import Stage, pay, run_tiled


class SeanetDecoder(Decoder):
    """SEANet decoder (Tagliasacchi et al. 2020) as in EnCodec and SpeechTokenizer.

    The layers' positions in ``model`` are those of the released checkpoints. A hop of the output
    depends on its own frame and, when causal, on the ones before: nothing lags.
    """

    delay = 0
    min_rows = 1

    def __init__(self, config: SeanetConfig):
        super().__init__()
        self.causal = config.causal
        self.model = StatefulSequential(*_layers(config))
        self.stages = _stages(config)
        if config.edges == "mirror":
            self.first_frames = frames_to_start(self.model, 1)

    def forward(self, latent: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """``latent (B, D, n)`` to ``(wav (B, n * hop), state)``."""
        if self.causal and pay(latent):
            wav, state = run_tiled(self.model, self.stages, latent, state)
        else:
            wav, state = self.model(latent, state)
        # Spectral losses need float32, which bf16 autocast does not leave.
        return wav.squeeze(1).float(), state


def _stages(config: SeanetConfig) -> list[Stage]:
    """Activation, transposed convolution and residual blocks; the last convolution goes with the last of them."""
    dim = config.n_filters * 2 ** len(config.strides)
    start = 2 if config.lstm_layers else 1
    stages = [Stage(slice(0, start), dim)]
    for stride in config.strides:
        dim, stop = dim // 2, start + config.n_residual_layers + 2
        stages.append(Stage(slice(start, stop), dim * stride))
        start = stop
    return [*stages[:-1], replace(stages[-1], layers=slice(stages[-1].layers.start, None))]


def _layers(config: SeanetConfig) -> list[nn.Module]:
    dim = config.n_filters * 2 ** len(config.strides)
    layers: list[nn.Module] = [convolution(config, config.latent_dim, dim, config.kernel_size)]
    if config.lstm_layers:
        layers += [LSTM(dim, config.lstm_layers, bidirectional=False)]
    for stride in config.strides:
        layers += [
            activation(config, dim),
            ConvTranspose(dim, dim // 2, stride, causal=config.causal),
        ]
        dim //= 2
        layers += residual_blocks(config, dim)
    layers += [activation(config, dim), convolution(config, dim, 1, config.last_kernel_size)]
    return layers
