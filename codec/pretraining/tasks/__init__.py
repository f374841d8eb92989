"""Tasks of the trainer: ``matpac`` on patches of a log-mel spectrogram, ``masked_frames`` on a codec's encoder."""
