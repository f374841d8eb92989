"""Tokens of whole corpora: a fixed plan of shards, one idempotent function a shard, any engine."""
