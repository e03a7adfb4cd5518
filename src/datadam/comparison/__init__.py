"""Many methods on one data set through the same draws, networks and judging: a grid that can be stopped, and its table."""

from datadam.comparison.table import Comparison
from datadam.comparison.work import GridProgress, compare

__all__ = ["Comparison", "GridProgress", "compare"]
