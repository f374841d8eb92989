"""The config of a model for the library transformers: our ``config.json`` under one key, the rest derived."""

import itertools
import json
from functools import lru_cache
from typing import Any

from transformers import PretrainedConfig

from codec.model.config import MODEL_TYPE, CodecConfig, config_to_dict, parse_config
from codec.quantizers.base import bits_per_code


@lru_cache(maxsize=8)
def _parsed(text: str) -> CodecConfig:
    return parse_config(text)


class SpeechCodecConfig(PretrainedConfig):
    """Settings of a :class:`codec.hf.model.SpeechCodecModel`.

    All that Mimi's config offers is derived from them and cannot be set.

    Args:
        codec: the content of a model's own ``config.json``; that of the default architecture if omitted.
        deterministic: whether ``encode`` and ``decode`` compute in blocks of one shape (docs/streaming.md).
        kwargs: what every config of transformers has.

    Raises:
        CodecError: for settings that no architecture or quantizer has.
    """

    model_type = MODEL_TYPE

    def __init__(self, codec: dict[str, Any] | None = None, deterministic: bool = False, **kwargs: Any):
        self.codec = config_to_dict(_parsed(json.dumps(codec or {})))
        self.deterministic = deterministic
        # A folder with the source, read by the installed package: what is saved of it has no source.
        if self._auto_class is None:
            kwargs.pop("auto_map", None)
        super().__init__(**kwargs)

    @property
    def settings(self) -> CodecConfig:
        """The settings as codec's own classes take them."""
        return _parsed(json.dumps(self.codec))

    @property
    def sampling_rate(self) -> int:
        """Hz."""
        return self.settings.sample_rate

    @property
    def audio_channels(self) -> int:
        return 1

    @property
    def frame_size(self) -> int:
        """Samples of a frame."""
        return int(self.settings.network.hop_length)

    @property
    def hop_length(self) -> int:
        """The same, as EnCodec and DAC call it."""
        return self.frame_size

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.settings.frame_rate

    @property
    def upsampling_ratios(self) -> list[int]:
        """Factors whose product is :attr:`frame_size`."""
        return [self.frame_size]

    @property
    def downsampling_ratios(self) -> list[int]:
        """The same, as DAC calls them."""
        return [self.frame_size]

    @property
    def num_quantizers(self) -> int:
        return int(self.settings.quantizer.num_codebooks)

    @property
    def num_codebooks(self) -> int:
        """The same."""
        return self.num_quantizers

    @property
    def codebook_size(self) -> int:
        """Entries of the largest codebook."""
        return int(self.settings.quantizer.codebook_size)

    @property
    def codebook_sizes(self) -> list[int]:
        """Entries of each codebook."""
        return list(self.settings.quantizer.layer_sizes)

    @property
    def codebook_nbits(self) -> int:
        """Bits of a code of the largest codebook."""
        return bits_per_code(self.codebook_size)

    @property
    def hidden_size(self) -> int:
        """Width of a latent frame."""
        return int(self.settings.network.latent_dim)

    @property
    def target_bandwidths(self) -> list[float]:
        """Kilobits per second of the first 1, 2, ... codebooks."""
        bits = itertools.accumulate(map(bits_per_code, self.codebook_sizes))
        return [count * self.frame_rate / 1000 for count in bits]
