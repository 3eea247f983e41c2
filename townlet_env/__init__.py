"""A small town of residents as a multi-agent environment."""
