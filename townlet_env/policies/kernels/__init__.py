"""Kernels that decide for many residents at once; nothing here knows the configuration."""
