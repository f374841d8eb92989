"""Speech recognition as a training target: texts, a head with CTC, and the loss of that name."""
