"""Work on many clips: batches, and worker processes."""
