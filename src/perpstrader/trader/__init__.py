"""The trading cycle, the commands, and the composition root: the one place that builds everything."""
