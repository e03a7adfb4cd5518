"""Shards: a run whose classes are distilled apart, by several processes or machines, with the same images as one alone."""
