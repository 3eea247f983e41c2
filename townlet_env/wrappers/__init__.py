"""PettingZoo wrappers, one effect each."""
