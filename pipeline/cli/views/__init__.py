"""Results as text for people: one module per job, with a function `show` that prints the result."""
