"""Embedding-only distillation: a task of the trainer, its settings, vectors, losses and mapping head."""
