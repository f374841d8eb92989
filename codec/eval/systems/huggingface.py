"""EnCodec, DAC, Mimi and X-codec through transformers."""

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.data.manifest import Clip
from codec.encoders.hub import load_pretrained
from codec.errors import CodecError
from codec.eval.systems.base import System
from codec.eval.systems.registry import baseline, parse_number
from codec.eval.types import Coded

_FAMILIES = ("encodec", "dac", "mimi", "xcodec")


@baseline("hf")
@dataclass(frozen=True)
class HuggingFace(System):
    """A codec of transformers by hub id or folder, at a bitrate it offers (the highest by default)."""

    model: str
    kbps: float | None = None

    @classmethod
    def parse(cls, argument: str) -> "HuggingFace":
        model, at, rate = argument.partition("@")
        if not model:
            raise CodecError(f"baseline hf:{argument}: expected hf:ID or hf:ID@KBPS")
        return cls(model, parse_number(rate, f"hf:{model}@", 0.01, 2000) if at else None)

    @property
    def label(self) -> str:
        return f"{self.family}@{self.kbps:g}" if self.kbps else self.family

    @property
    def family(self) -> str:
        return self.model.rstrip("/").rpartition("/")[2]

    @property
    def sample_rate(self) -> int:
        config = _load(self.model).config
        return getattr(config, "sampling_rate", None) or config.sample_rate

    def missing(self) -> str | None:
        try:
            import transformers  # noqa: F401
        except ImportError:
            return "the package transformers is not installed; pip install 'codec[eval]'"
        try:
            _load(self.model)
        except (CodecError, ImportError) as error:
            return " ".join(str(error).split())
        return None

    def signature(self) -> str:
        import transformers

        return f"hf {self.model} {self.kbps} {transformers.__version__}"

    @torch.inference_mode()
    def code(self, clip: Clip, wav: np.ndarray) -> Coded:
        model = _load(self.model)
        channels = getattr(model.config, "audio_channels", 1)
        inputs = torch.from_numpy(wav).expand(1, channels, -1)
        start = time.perf_counter()
        encoded = _encode(model, inputs, self.kbps)
        middle = time.perf_counter()
        output = _decode(model, encoded)
        end = time.perf_counter()
        codes = encoded.audio_codes
        size, by_layer = model.config.codebook_size, _by_layer(codes).numpy()
        # The codecs pad to whole frames and chunks.
        output = output.reshape(channels, -1).mean(dim=0)[: len(wav)]
        return Coded(
            output.numpy(),
            self.sample_rate,
            bits=float(codes.numel() * (size - 1).bit_length()),
            encode_seconds=middle - start,
            decode_seconds=end - middle,
            codes=by_layer,
            codebook_sizes=(size,) * len(by_layer),
        )


def _encode(model: Any, inputs: Tensor, kbps: float | None) -> Any:
    """The model's own encoder output for ``inputs (1, channels, T)``."""
    config = model.config
    if config.model_type in ("encodec", "xcodec"):
        rates = list(config.target_bandwidths)
        bandwidth = kbps or rates[-1]
        if bandwidth not in rates:
            raise CodecError(f"{config.model_type} has the bitrates {rates} kbps, not {bandwidth:g}")
        encoded = model.encode(inputs, bandwidth=bandwidth, return_dict=True)
    elif config.model_type == "dac":
        encoded = model.encode(inputs, n_quantizers=_count(config, kbps, config.n_codebooks))
    else:
        encoded = model.encode(inputs, num_quantizers=_count(config, kbps, config.num_quantizers))
    return encoded


def _decode(model: Any, encoded: Any) -> Tensor:
    if model.config.model_type == "encodec":
        return model.decode(
            encoded.audio_codes,
            encoded.audio_scales,
            last_frame_pad_length=encoded.last_frame_pad_length,
        ).audio_values
    return model.decode(audio_codes=encoded.audio_codes).audio_values


def _count(config: Any, kbps: float | None, available: int) -> int:
    """Codebooks nearest to a bitrate."""
    if kbps is None:
        return available
    per_codebook = config.frame_rate * (config.codebook_size - 1).bit_length() / 1000
    count = round(kbps / per_codebook)
    if not 1 <= count <= available:
        raise CodecError(
            f"{config.model_type} codes {per_codebook:g} to {available * per_codebook:g} kbps, not {kbps:g}"
        )
    return count


def _by_layer(codes: Tensor) -> Tensor:
    """``(K, F)``: EnCodec's chunks one after another, the batch of one dropped."""
    if codes.ndim == 4:
        return codes[:, 0].transpose(0, 1).flatten(1)
    return codes[0]


@lru_cache(maxsize=2)
def _load(name: str) -> Any:
    from transformers import AutoConfig, AutoModel

    family = load_pretrained(AutoConfig, name).model_type
    if family not in _FAMILIES:
        raise CodecError(f"{name}: it is a {family} model; expected one of {', '.join(_FAMILIES)}")
    return load_pretrained(AutoModel, name).eval()
