"""The ``codec`` command."""

from codec.cli.app import app, main

__all__ = ["app", "main"]
