"""Many methods on one data set through the same draws, networks and judging: a grid that can be stopped, and its table."""
