"""Models for the library transformers: importing this module registers them with its auto classes."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, EncodecFeatureExtractor

from codec.hf.config import SpeechCodecConfig
from codec.hf.encoder import AudioEncoderConfig, AudioEncoderModel, AudioEncoderOutput
from codec.hf.model import SpeechCodecModel
from codec.hf.outputs import SpeechCodecDecoderOutput, SpeechCodecEncoderOutput, SpeechCodecOutput

__all__ = [
    "AudioEncoderConfig",
    "AudioEncoderModel",
    "AudioEncoderOutput",
    "SpeechCodecConfig",
    "SpeechCodecDecoderOutput",
    "SpeechCodecEncoderOutput",
    "SpeechCodecModel",
    "SpeechCodecOutput",
]


def _register() -> None:
    AutoConfig.register(SpeechCodecConfig.model_type, SpeechCodecConfig)
    AutoModel.register(SpeechCodecConfig, SpeechCodecModel)
    AutoConfig.register(AudioEncoderConfig.model_type, AudioEncoderConfig)
    AutoModel.register(AudioEncoderConfig, AudioEncoderModel)
    AutoFeatureExtractor.register(SpeechCodecConfig, EncodecFeatureExtractor)
    try:
        from transformers import AutoModelForAudioTokenization
    # transformers has had it since version 5.
    except ImportError:
        return
    AutoModelForAudioTokenization.register(SpeechCodecConfig, SpeechCodecModel)


_register()
