"""Frozen models of other projects that turn sound or text into features."""
