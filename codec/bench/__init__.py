"""``codec bench``: speed, ours and others', measured side by side in one run."""

from codec.bench import clients, floor, offline, stream, throughput  # noqa: F401  (they register themselves)
