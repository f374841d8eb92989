"""Waveform to latent frames: strided convolutions between residual blocks, then an LSTM."""

from typing import Any

from torch import Tensor, nn

from codec.model.registry import Encoder
from codec.model.seanet.blocks import LSTM, StatefulSequential, activation, convolution, residual_blocks
from codec.model.seanet.config import SeanetConfig
from codec.model.seanet.convolutions import frames_to_start
from codec.model.seanet.tiles import Stage, pay, run_tiled


class SeanetEncoder(Encoder):
    """SEANet encoder (Tagliasacchi et al. 2020) as in EnCodec and SpeechTokenizer.

    The layers' positions in ``model`` are those of the released checkpoints.
    """

    min_rows = 1

    def __init__(self, config: SeanetConfig):
        super().__init__()
        self.causal = config.causal
        self.model = StatefulSequential(*_layers(config))
        self.stages = _stages(config)
        self.any_end = config.edges != "silence"
        if config.edges == "mirror":
            self.first_frames = frames_to_start(self.model, config.hop_length)

    def forward(self, wav: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """``wav (B, T)`` to ``(latent (B, D, ceil(T / hop)), state)``.

        When causal, T is a multiple of the hop, but at the end of a signal with ``any_end``. Otherwise any T
        will do: the end is mirrored to full windows, and a signal that was zero-padded instead would get
        other latents.
        """
        if self.causal and pay(wav):
            return run_tiled(self.model, self.stages, wav.unsqueeze(1), state)
        return self.model(wav.unsqueeze(1), state)


def _stages(config: SeanetConfig) -> list[Stage]:
    """Residual blocks, activation and strided convolution; the first convolution goes with the first of them."""
    dim, start, stages = config.n_filters, 0, []
    for stride in reversed(config.strides):
        stop = max(start, 1) + config.n_residual_layers + 2
        stages.append(Stage(slice(start, stop), dim, stride))
        dim, start = 2 * dim, stop
    return [*stages, Stage(slice(start, None), dim)]


def _layers(config: SeanetConfig) -> list[nn.Module]:
    dim = config.n_filters
    layers: list[nn.Module] = [convolution(config, 1, dim, config.kernel_size)]
    for stride in reversed(config.strides):
        layers += residual_blocks(config, dim)
        layers += [activation(config, dim), convolution(config, dim, 2 * dim, 2 * stride, stride=stride)]
        dim *= 2
    if config.lstm_layers:
        layers += [LSTM(dim, config.lstm_layers, config.bidirectional)]
        dim *= 2 if config.bidirectional else 1
    layers += [activation(config, dim), convolution(config, dim, config.latent_dim, config.last_kernel_size)]
    return layers
