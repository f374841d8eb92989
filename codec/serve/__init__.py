"""A WebSocket server that many clients share: live sound to tokens and back (extra: serve)."""
