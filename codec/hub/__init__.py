"""Models on the Hugging Face Hub: download by id, publication with a model card."""
