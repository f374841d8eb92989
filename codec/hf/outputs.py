"""What the methods of the model return; the field names are those of Mimi, EnCodec and NeuCodec."""

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class SpeechCodecEncoderOutput(ModelOutput):
    """Of ``encode``."""

    audio_codes: Tensor | None = None
    """``(B, K, T)`` int64; 0 outside a clip's frames."""
    audio_codes_mask: Tensor | None = None
    """``(B, T)`` bool: the frames of each clip."""
    audio_scales: list[None] | None = None
    """``[None]``: EnCodec's volumes, which no model here has; its ``decode`` is called with them."""
    last_frame_pad_length: int | None = None
    """None: no audio is cut into chunks here."""


@dataclass
class SpeechCodecDecoderOutput(ModelOutput):
    """Of ``decode``."""

    audio_values: Tensor | None = None
    """``(B, 1, S)`` float32 in [-1, 1]; 0 after a clip's end."""


@dataclass
class SpeechCodecOutput(ModelOutput):
    """Of a call of the model."""

    audio_codes: Tensor | None = None
    """As ``encode`` returns them."""
    audio_values: Tensor | None = None
    """As ``decode`` returns them."""
    audio_codes_mask: Tensor | None = None
    """As ``encode`` returns it."""
