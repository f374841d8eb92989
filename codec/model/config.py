"""The model's config, saved as ``config.json`` next to ``model.safetensors``."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.config import from_dict, to_dict
from codec.errors import CodecError
from codec.model import dac, mimi, seanet, spectral  # noqa: F401  (they register themselves)
from codec.model.registry import NetworkConfig, architecture_of
from codec.quantizers.base import quantizer_config_to_dict, read_quantizer_config

MODEL_TYPE = "speech_codec"
"""``model_type`` of a ``config.json`` for the library transformers."""
SETTINGS = "codec"
"""Where such a file has the content of :class:`CodecConfig`."""


@dataclass(frozen=True)
class CodecConfig:
    """Everything that decides what the codes mean, but for the weights."""

    architecture: str = "spectral"
    sample_rate: int = 16_000
    """Hz; other input is resampled."""
    quantizer: Any = None
    """The config of a quantizer, as plain data with its name as ``type``; ``rvq`` by default."""
    network: Any = None
    """The architecture's own config dataclass; its defaults when omitted."""

    def __post_init__(self) -> None:
        network_class = architecture_of(self.architecture).config
        network = self.network
        if network is None or isinstance(network, dict):
            network = from_dict(network_class, network or {}, "network")
            object.__setattr__(self, "network", network)
        if not isinstance(network, network_class):
            raise CodecError(
                f"config network: {type(network).__name__} does not belong to {self.architecture!r}"
            )
        if not isinstance(network, NetworkConfig):
            raise TypeError(f"{network_class.__name__} lacks a method of NetworkConfig")
        if self.quantizer is None or isinstance(self.quantizer, dict):
            object.__setattr__(self, "quantizer", read_quantizer_config(self.quantizer or {}))
        if not hasattr(self.quantizer, "layer_sizes"):
            raise CodecError(f"config quantizer: expected its settings, such as {{type: rvq}}, got {self.quantizer!r}")
        if self.sample_rate < 1:
            raise CodecError(f"config sample_rate: {self.sample_rate} Hz; it must be 1 or more")

    @property
    def frame_rate(self) -> float:
        """Token frames per second."""
        return self.sample_rate / self.network.hop_length


def load_config(path: Path) -> CodecConfig:
    """Read ``config.json``.

    Raises:
        CodecError: when the file is missing, no JSON, or has unknown keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CodecError(f"{path}: no such file; a model is config.json + model.safetensors") from None
    except (ValueError, OSError) as error:
        raise CodecError(f"{path}: cannot be read as JSON ({error})") from None
    return parse_config(text, str(path))


def parse_config(text: str, where: str = "config.json") -> CodecConfig:
    """The config in the text of ``config.json``.

    Raises:
        CodecError: when it is no JSON, or has unknown keys.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"{where}: cannot be read as JSON ({error})") from None
    if isinstance(values, dict) and "model_type" in values:
        values = _of_transformers(values, where)
    return from_dict(CodecConfig, values)


def _of_transformers(values: dict[str, Any], where: str) -> Any:
    """Our settings in a config that transformers reads too; the rest is of no concern here."""
    if values["model_type"] != MODEL_TYPE or SETTINGS not in values:
        raise CodecError(
            f"{where}: a model of type {values['model_type']!r}, of another library; codec reads models of type "
            f"{MODEL_TYPE!r} and its own (codec import SRC DST converts some others)"
        )
    return values[SETTINGS]


def config_to_json(config: CodecConfig) -> str:
    """The text of ``config.json``: every setting of the network, defaults included, in declaration order."""
    return json.dumps(config_to_dict(config), indent=2) + "\n"


def config_to_dict(config: CodecConfig) -> dict[str, Any]:
    """Inverse of ``from_dict(CodecConfig, values)``: the content of ``config.json`` as plain data."""
    return {
        "architecture": config.architecture,
        "sample_rate": config.sample_rate,
        "quantizer": quantizer_config_to_dict(config.quantizer),
        "network": to_dict(config.network),
    }
