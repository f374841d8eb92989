"""Audio models of transformers: Whisper, the wav2vec 2.0 family, and MERT, which is one of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.encoders.base import Encoder, EncoderConfig
from codec.encoders.generic import audio_extractor, open_generic
from codec.encoders.hub import load_pretrained, locate, reachable, teacher_id
from codec.encoders.layers import LayerChoice, choose_layers
from codec.encoders.waveform import WaveformEncoder, wave_extractor
from codec.encoders.whisper_encoder import WhisperEncoder, whisper_extractor
from codec.errors import CodecError

_MERT = "mert_model"


def open_pretrained(config: EncoderConfig) -> Encoder:
    """An encoder of a transformers model, by hub id, folder or ``package:``.

    Raises:
        CodecError: when it cannot be loaded, takes no audio, or lacks the layer.
    """
    model = _load(config)
    model = model.eval().requires_grad_(False).to(config.device)
    has_front_end = bool(getattr(model.config, "conv_kernel", None))
    if model.config.model_type == "whisper":
        layers = choose_layers(config.layer, model.config.encoder_layers)
        extractor = whisper_extractor(config.model, model.config)
        runner: WaveformEncoder | WhisperEncoder = WhisperEncoder(
            model.encoder, extractor, _reader(layers), config.max_seconds, config.tail_seconds
        )
        dim = model.config.d_model
    elif not has_front_end and (own := audio_extractor(config.model)) is not None:
        return open_generic(model, own, config)
    else:
        layers = choose_layers(config.layer, getattr(model.config, "num_hidden_layers", 0))
        # MERT's config says its rate.
        extractor = wave_extractor(config.model, getattr(model.config, "sample_rate", 16_000))
        runner = WaveformEncoder(model, extractor, _reader(layers), config.max_seconds)
        dim = model.config.hidden_size
    return Encoder(
        name=teacher_id(config.model),
        layer=layers.name,
        sample_rate=runner.sample_rate,
        rate=runner.rate,
        offset=runner.offset,
        dim=dim,
        run=runner.encode,
    )


def _load(config: EncoderConfig) -> Any:
    from transformers import AutoModel

    dtype = getattr(torch, config.dtype)
    if not config.remote_code and _settings(config.model).get("model_type") == _MERT:
        return _load_mert(config.model, dtype)
    options = {"trust_remote_code": True} if config.remote_code else {}
    return load_pretrained(AutoModel, config.model, dtype=dtype, **options)


def _load_mert(model: str, dtype: torch.dtype) -> Any:
    """MERT v0 and v1-95M (Li et al. 2024, arXiv 2306.00107) without their code: they are HuBERT in all but name.

    Raises:
        CodecError: for those that have a constant-Q front end or another normalisation.
    """
    from transformers import HubertConfig, HubertModel

    settings = _settings(model)
    differs = [key for key in ("feature_extractor_cqt", "deepnorm") if settings.get(key)]
    if (settings.get("attention_relax") or -1) > 0:
        differs.append("attention_relax")
    if differs:
        raise CodecError(
            f"{model}: this MERT has {', '.join(differs)}, which only its own code runs; set remote_code=true"
        )
    known = {key: value for key, value in settings.items() if key not in ("model_type", "auto_map")}
    return load_pretrained(HubertModel, model, config=HubertConfig(**known), dtype=dtype)


def _settings(model: str) -> dict[str, Any]:
    """Plain settings of a model, as its config.json has them; none where it has no such file."""
    from transformers.utils import cached_file

    place = locate(model)
    if Path(place).is_dir():
        file: str | None = str(Path(place) / "config.json")
    else:
        try:
            file = cached_file(place, "config.json", _raise_exceptions_for_missing_entries=False, **reachable(place))
        except OSError as error:
            raise CodecError(f"{model}: cannot be loaded ({' '.join(str(error).split())[:200]})") from None
    if file is None or not Path(file).is_file():
        return {}
    return json.loads(Path(file).read_text(encoding="utf-8"))


def _reader(layers: LayerChoice) -> Callable[[Any], Tensor]:
    return lambda output: layers.combine(output.hidden_states)
