"""Recorded episodes of a town lived again, many at once as worlds of a batch."""
