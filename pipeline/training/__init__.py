"""From a snapshot to fitted candidates and their scores on held-out issue times."""
