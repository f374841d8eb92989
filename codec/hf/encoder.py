"""Pre-trained encoders behind ``AutoModel``: config, model and output for the library transformers."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from codec.hf.masks import frame_mask, rows_of, spans_of
from codec.hf.model import fill_missing, initial_tensors, on_cpu
from codec.model.shield import plain_torch
from codec.pretraining.models.files import MODEL_TYPE, PATCHES, build
from codec.pretraining.models.frames import FrameEncoder
from codec.pretraining.models.patches import PatchEncoder


class AudioEncoderConfig(PretrainedConfig):
    """Settings of a :class:`AudioEncoderModel`.

    Args:
        kind: matpac for patches of a spectrogram, frames for a codec's encoder.
        encoder: its settings, as ``config.json`` of ``codec train`` has them; the defaults if omitted.
        kwargs: what every config of transformers has.

    Raises:
        CodecError: for settings that no encoder has.
    """

    model_type = MODEL_TYPE

    def __init__(self, kind: str = PATCHES, encoder: dict[str, Any] | None = None, **kwargs: Any):
        self.kind, self.encoder = kind, dict(encoder or {})
        with torch.device("meta"):
            built = build(kind, self.encoder)
        self.hidden_size, self.sampling_rate, self.frame_rate = built.dim, built.sample_rate, built.rate
        super().__init__(**kwargs)


@dataclass
class AudioEncoderOutput(ModelOutput):
    """What an encoder makes of a batch."""

    last_hidden_state: Tensor | None = None
    """``(B, T, D)`` float32; 0 after a clip's frames."""
    pooler_output: Tensor | None = None
    """``(B, D)``: the mean over each clip's frames."""
    frames_mask: Tensor | None = None
    """``(B, T)`` bool: the frames of each clip."""


class AudioEncoderModel(PreTrainedModel):
    """A pre-trained encoder, in float32, without gradients: features of a padded batch are those of each clip alone."""

    config_class = AudioEncoderConfig
    base_model_prefix = "audio_encoder"
    main_input_name = "input_values"
    input_modalities = "audio"

    def __init__(self, config: AudioEncoderConfig):
        super().__init__(config)
        # What is computed and not stored would have no values on the device meta, which transformers loads into.
        with on_cpu():
            encoder = build(config.kind, config.encoder)
            self._initial = initial_tensors(encoder)
        # Its parts under the names that its own file has; the encoder itself in a tuple so as to be no submodule.
        self._held = (encoder,)
        for name, module in encoder.named_children():
            self.add_module(name, module)
        for name, parameter in encoder.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in encoder.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.post_init()

    @property
    def encoder_module(self) -> PatchEncoder | FrameEncoder:
        """The encoder in the class that the rest of codec takes, with this model's weights."""
        encoder = self._held[0]
        # Loading and moving put new tensors into this module; those of its parts are shared.
        for name in dict(encoder.named_parameters(recurse=False)):
            encoder.register_parameter(name, getattr(self, name))
        for name in dict(encoder.named_buffers(recurse=False)):
            setattr(encoder, name, getattr(self, name))
        return encoder.train(self.training)

    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> AudioEncoderOutput | tuple[Any, ...]:
        """Features of a batch.

        Args:
            input_values: ``(B, S)`` or ``(B, 1, S)`` at ``config.sampling_rate``, in [-1, 1].
            padding_mask: of the same shape, 1 where a sample is of the clip; all by default.
            attention_mask: another name for it.
            return_dict: a tuple instead of an output with names, if false.

        Raises:
            CodecError: for several channels, or a mask with holes.
        """
        wav = rows_of(input_values, "input_values")
        spans = spans_of(attention_mask if padding_mask is None else padding_mask, *wav.shape)
        with plain_torch(), torch.no_grad():
            clips = spans.gather(wav.detach().float().cpu())
            wavs = [clip[:count] for clip, count in zip(clips, spans.counts, strict=True)]
            frames = self.encoder_module.frames(wavs)
        device = input_values.device
        output = AudioEncoderOutput(
            last_hidden_state=pad_sequence(frames, batch_first=True).to(device),
            pooler_output=torch.stack([clip.mean(dim=0) for clip in frames]).to(device),
            frames_mask=frame_mask(torch.tensor([len(clip) for clip in frames]), max(map(len, frames))).to(device),
        )
        named = self.config.return_dict if return_dict is None else return_dict
        return output if named else output.to_tuple()

    def _init_weights(self, module: nn.Module) -> None:
        fill_missing(self, module, self._initial)
