"""Parts of embedding-only distillation: settings, the teacher's vectors, batches, the mapping head."""
