"""Alignment: when words and phones were spoken."""

from codec.align import ctc, phones, whisper  # noqa: F401  (registers the aligners)
