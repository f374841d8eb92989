"""Work on many clips: batches, worker processes, and signals that ask it to save and leave."""
