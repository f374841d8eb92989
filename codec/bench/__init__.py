"""``codec bench``: speed, ours and others', measured side by side in one run."""

from codec.bench import (  # noqa: F401  (they register themselves)
    agreement,
    clients,
    floor,
    offline,
    profile,
    slots,
    stream,
    throughput,
)
