"""The town itself: arrays in one record per world, stepped by compiled kernels; no RL library."""
