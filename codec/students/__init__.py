"""Small encoders of audio: a log-mel front, a convolutional trunk by name and size, one vector for a clip."""
