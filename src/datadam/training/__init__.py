"""Training: the one trainer of networks, and what is kept of it."""
