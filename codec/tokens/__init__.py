"""Tokens and their files."""

from codec.tokens.tokens import Tokens

__all__ = ["Tokens"]
