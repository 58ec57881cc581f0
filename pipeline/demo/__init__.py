"""All jobs on the shipped sample, in simulated time."""
