"""Masked latent prediction and unsupervised classification: masks, predictor, heads, losses, schedules."""
