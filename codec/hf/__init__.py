"""Models for the library transformers: importing this module registers them with its auto classes."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, EncodecFeatureExtractor

from codec.hf.config import CodecTokenizerConfig
from codec.hf.model import CodecTokenizerModel
from codec.hf.outputs import CodecTokenizerDecoderOutput, CodecTokenizerEncoderOutput, CodecTokenizerOutput

__all__ = [
    "CodecTokenizerConfig",
    "CodecTokenizerDecoderOutput",
    "CodecTokenizerEncoderOutput",
    "CodecTokenizerModel",
    "CodecTokenizerOutput",
]


def _register() -> None:
    AutoConfig.register(CodecTokenizerConfig.model_type, CodecTokenizerConfig)
    AutoModel.register(CodecTokenizerConfig, CodecTokenizerModel)
    AutoFeatureExtractor.register(CodecTokenizerConfig, EncodecFeatureExtractor)
    try:
        from transformers import AutoModelForAudioTokenization
    # transformers has had it since version 5.
    except ImportError:
        return
    AutoModelForAudioTokenization.register(CodecTokenizerConfig, CodecTokenizerModel)


_register()
