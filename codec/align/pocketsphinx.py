"""Forced alignment of English speech to its transcript, with pocketsphinx and its own model.

A crash in the C library must cost one clip and not the evaluation: :func:`phones_of` is for worker processes.
"""

from functools import lru_cache

from torch import Tensor

from codec.align.transcript import plain_words
from codec.align.types import Interval
from codec.audio.io import load_audio
from codec.errors import CodecError

SAMPLE_RATE = 16_000
FRAME_RATE = 100
"""Frames per second of pocketsphinx's alignments."""
SILENCE = "SIL"
MAX_UNKNOWN = 0.25
"""Largest share of words missing from the dictionary in a transcript that is still aligned."""
_UNKNOWN = "<unknown>"


class PhoneAligner:
    """Two passes of pocketsphinx: words, then phones within the words."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        # With bestpath, one-frame end words appear that no phone sequence fits into.
        self._decoder = Decoder(lm=None, bestpath=False, loglevel="FATAL")
        self._decoder.add_word(_UNKNOWN, "+SPN+")

    def align(self, wav: Tensor, text: str) -> list[Interval]:
        """Phones of ``wav (T,)`` at 16 kHz, in order, without gaps.

        Labels are ARPAbet symbols without stress, ``SIL``, or None where the phone is not known.
        A word that the dictionary lacks is aligned to the model's noise phone, which blurs the
        borders around it; that word and what touches it come back without a phone.

        Raises:
            CodecError: when the text has no words, too many unknown ones, or does not fit the audio.
        """
        words = plain_words(text).split()
        known = [self._decoder.lookup_word(word) is not None for word in words]
        missing = sorted({word for word, found in zip(words, known, strict=True) if not found})
        if known.count(False) > MAX_UNKNOWN * len(words):
            raise CodecError(f"too many words are not in the dictionary: {', '.join(missing)}")
        if wav.numel() < SAMPLE_RATE // 10:
            raise CodecError("shorter than 0.1 s")
        pcm = (wav.clamp(-1.0, 1.0) * 32_767).short().numpy().tobytes()
        spoken = [word if found else _UNKNOWN for word, found in zip(words, known, strict=True)]
        try:
            aligned = self._two_passes(" ".join(spoken), pcm)
        except RuntimeError:
            raise CodecError("the text could not be aligned to the audio") from None
        if sum(not _is_silence(name) for name, _ in aligned) != len(words):
            raise CodecError("the text could not be aligned to the audio")
        return trusted_phones(aligned, known)

    def _two_passes(self, text: str, pcm: bytes) -> list[tuple[str, list[Interval]]]:
        # Noise removal and cepstral means adapt from clip to clip; a clip must not depend on others.
        self._decoder.reinit_feat()
        self._decoder.set_align_text(text)
        self._decode(pcm)
        self._decoder.set_alignment()
        self._decode(pcm)
        words = []
        # Entries are views of a moving iterator: they must be read before the next one is taken.
        for word in self._decoder.get_alignment():
            name, phones = word.name, []
            for phone in word:
                start, end = phone.start / FRAME_RATE, (phone.start + phone.duration) / FRAME_RATE
                phones.append(Interval(phone.name, start, end))
            words.append((name, phones))
        return words

    def _decode(self, pcm: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()


def trusted_phones(aligned: list[tuple[str, list[Interval]]], known: list[bool]) -> list[Interval]:
    """All phones in order; those near unknown words lose their name.

    That is the words next to an unknown one, and silence that touches it: the noise phone often
    leaves part of its word to the silence.
    """
    trusted, position = [], 0
    for name, phones in aligned:
        silent = _is_silence(name)
        near = known[max(position - 1, 0) : position + (1 if silent else 2)]
        for phone in phones:
            label = SILENCE if silent else phone.label
            trusted.append(Interval(label if all(near) else None, phone.start, phone.end))
        position += not silent
    return trusted


def _is_silence(word: str) -> bool:
    return word.startswith(("<sil", "<s>", "</s>", "["))


@lru_cache(maxsize=1)
def _aligner() -> PhoneAligner:
    """One for all the clips of a process."""
    return PhoneAligner()


def phones_of(task: tuple[str, str]) -> list[Interval] | str:
    """The phones of a recording with a text, or in one line why there are none.

    Args:
        task: path of the recording, and its text.
    """
    path, text = task
    try:
        return _aligner().align(load_audio(path, SAMPLE_RATE).wav, text)
    except CodecError as error:
        return str(error)
    except (OSError, RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
