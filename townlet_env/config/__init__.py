"""Scenarios and catalogues: read, checked, compiled to the arrays of the simulation."""
