"""Word times from a transformers Whisper: recognised words, carried over to the text where it is known."""

from codec.align.known_text import transfer_times
from codec.align.loudness import tighten
from codec.align.registry import WordsConfig
from codec.align.utterance import Utterance
from codec.align.words import ClipWords, Word
from codec.encoders.hub import load_pretrained, teacher_id
from codec.errors import CodecError


class WhisperTimer:
    """A Whisper for ``transformers``' recognition pipeline, which cuts and stitches long audio."""

    def __init__(self, config: WordsConfig):
        from transformers import WhisperForConditionalGeneration, WhisperProcessor, pipeline

        model = load_pretrained(WhisperForConditionalGeneration, config.model).eval()
        if getattr(model.generation_config, "alignment_heads", None) is None:
            raise CodecError(
                f"{config.model}: its generation config has no alignment_heads, so it gives no word times"
            )
        processor = load_pretrained(WhisperProcessor, config.model)
        self._pipeline = pipeline(
            "automatic-speech-recognition",
            model=model,
            tokenizer=processor.tokenizer,
            feature_extractor=processor.feature_extractor,
            device=config.device,
        )
        self._multilingual = getattr(model.generation_config, "is_multilingual", True)
        self.sample_rate = processor.feature_extractor.sampling_rate
        self._language, self._name = config.language, teacher_id(config.model)

    def check_text(self, text: str) -> None:
        """Whisper's bytes spell any text."""

    def words(self, batch: list[Utterance]) -> list[ClipWords]:
        """Timed words per utterance; see :class:`codec.align.registry.WordTimer`."""
        return [self._one(utterance) for utterance in batch]

    def _one(self, utterance: Utterance) -> ClipWords:
        clip, wav = utterance.clip, utterance.wav
        language = clip.language or self._language
        options = {"language": language, "task": "transcribe"} if self._multilingual and language else {}
        output = self._pipeline(
            {"raw": wav.numpy(), "sampling_rate": self.sample_rate},
            return_timestamps="word",
            chunk_length_s=30 if len(wav) > 30 * self.sample_rate else 0,
            generate_kwargs=options,
        )
        timed = []
        for chunk in output["chunks"]:
            start, end = chunk["timestamp"]
            if chunk["text"].strip() and start is not None:
                timed.append(Word(chunk["text"].strip(), start, clip.seconds if end is None else end))
        source = "recognised"
        if clip.text is not None:
            timed, source = transfer_times(clip.text, timed, clip.seconds), "transferred"
        return ClipWords(clip.name, tuple(tighten(timed, wav, self.sample_rate)), f"{self._name}:{source}")
