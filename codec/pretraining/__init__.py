"""Pre-training without labels: masked latent prediction with a classification of the targets (MATPAC, MATPAC++).

``models`` is what remains after a run and needs no training; ``objective`` is the loss; ``tasks`` are the runs.
"""
