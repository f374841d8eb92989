"""A corpus of tokens in the forms that trainers read."""

from codec.corpora.exports.run import ExportConfig, export_corpus

__all__ = ["ExportConfig", "export_corpus"]
