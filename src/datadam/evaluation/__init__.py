"""Evaluation: students trained on a set and tested on real images."""
