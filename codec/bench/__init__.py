"""``codec bench``: speed, ours and others', measured side by side in one run."""
