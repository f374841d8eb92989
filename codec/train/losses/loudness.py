"""Distance in loudness, a model of how a listener distinguishes two signals."""

from dataclasses import dataclass

from torch import Tensor, nn

from codec.audio.disturbance import Disturbance
from codec.errors import CodecError
from codec.train.losses.registry import LossContext, loss
from codec.train.types import LossInput


@loss("loudness")
class LoudnessLoss(nn.Module):
    """Disturbance of ITU-T P.862 (PESQ), see :class:`codec.audio.disturbance.Disturbance`.

    As in PMSQE (Martin-Donas et al. 2018) it is a loss: there is no alignment in time. Levels and colour are not
    made up for, since a codec should keep them.
    """

    @dataclass(frozen=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        if context.sample_rate != 16_000:
            raise CodecError(f"losses.{context.name}: its bands are for 16000 Hz, found {context.sample_rate} Hz")
        self.disturbance = Disturbance()

    def forward(self, inputs: LossInput) -> Tensor:
        """See :class:`codec.train.losses.registry.loss`."""
        return self.disturbance(inputs.real, inputs.fake)
