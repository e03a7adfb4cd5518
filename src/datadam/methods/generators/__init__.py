"""Generators: networks trained on the whole set, of which images are sampled. One method a file, its losses in sight."""
