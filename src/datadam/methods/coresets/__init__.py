"""Coresets: real images chosen to stand for their class. One rule a file, with its settings."""
