"""Augmentation: Siamese, and of students alone."""
