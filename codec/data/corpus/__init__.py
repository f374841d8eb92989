"""Manifests from whatever a user has: audio folders, other manifests, Hugging Face datasets."""

from codec.data.corpus.sources import Corpus, CorpusConfig, collect

__all__ = ["Corpus", "CorpusConfig", "collect"]
