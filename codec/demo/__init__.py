"""The demo behind ``codec demo`` (extra: demo)."""
