"""From the name of a model to its encoder: the name's form says what kind of model it is."""

from collections.abc import Callable

from codec.encoders.base import Encoder, EncoderConfig
from codec.encoders.basic_pitch import is_basic_pitch, open_basic_pitch
from codec.encoders.function import is_function, open_function
from codec.encoders.log_mel import is_log_mel, open_log_mel
from codec.encoders.musicnn import is_musicnn, open_musicnn
from codec.encoders.onnx_file import is_onnx, open_onnx
from codec.encoders.own import is_own, open_own
from codec.encoders.pretrained import open_pretrained
from codec.errors import CodecError

_KINDS: tuple[tuple[Callable[[str], bool], Callable[[EncoderConfig], Encoder]], ...] = (
    (is_log_mel, open_log_mel),
    (is_own, open_own),
    (is_onnx, open_onnx),
    (is_function, open_function),
    (is_basic_pitch, open_basic_pitch),
    (is_musicnn, open_musicnn),
    (lambda model: True, open_pretrained),
)


def open_encoder(config: EncoderConfig) -> Encoder:
    """The encoder of ``config.model``, held to its declaration by two noises before it is handed out.

    Raises:
        CodecError: when it cannot be opened, or differs from what it or the config declares.
    """
    opener = next(build for claims, build in _KINDS if claims(config.model))
    encoder = opener(config)
    declared = {"sample_rate": config.sample_rate, "rate": config.rate, "dim": config.dim}
    for key, value in declared.items():
        found = getattr(encoder, key)
        if value is not None and (found is None or abs(found - value) > 1e-3 * value):
            raise CodecError(f"{config.model}: {key} {value:g} is declared, but it has {found or 'none'}")
    encoder.check()
    if config.level == "frame" and encoder.rate is None:
        raise CodecError(f"{config.model}: level frame is declared, but it gives one vector for a clip")
    return encoder.pooled() if config.level == "clip" else encoder
