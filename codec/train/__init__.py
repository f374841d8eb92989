"""Training: tasks, losses, discriminators, and the loop that runs them."""
