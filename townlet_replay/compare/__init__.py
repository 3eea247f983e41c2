"""Arms, common seeds, scores and the report."""
