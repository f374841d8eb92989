"""Frozen models of other projects that turn audio or text into features."""
