"""Stable fine-tuning of speech encoders of transformers, to be merged with their base (Speech-FT)."""
