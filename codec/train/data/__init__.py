"""From manifests and features to batches of crops."""
