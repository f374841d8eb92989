"""The network, its streams and its files. Importing any of them is the first use of torch."""

from codec.compat import warn_about_mismatched_torchaudio

warn_about_mismatched_torchaudio()
