"""Distillation: a recipe becomes a run, a run becomes a set."""
