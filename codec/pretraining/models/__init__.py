"""Encoders of audio that were trained without labels: on patches of a spectrogram, or on a codec's frames."""
