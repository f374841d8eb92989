"""Audio in and out, resampling, and mel spectra."""
