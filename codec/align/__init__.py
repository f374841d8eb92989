"""Alignment: when words and phones were spoken."""
