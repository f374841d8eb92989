"""A WebSocket server that many clients share: live audio to tokens and back (extra: serve)."""
