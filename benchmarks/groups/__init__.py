"""One module per group of measurements; each has ``measure(report)``."""
