"""The utterances of whatever holds a corpus."""

from codec.corpora.sources.kinds import SourceConfig, list_source

__all__ = ["SourceConfig", "list_source"]
