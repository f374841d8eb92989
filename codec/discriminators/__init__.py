"""Discriminators. A new one is one file in this folder with ``@discriminator("type")``."""
