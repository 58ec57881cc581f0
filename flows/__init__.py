"""The only package that knows Prefect: a flow for each job, deployments with schedules, and the servers of a laptop."""

LOOPBACK = "127.0.0.1"
"""The address on which everything listens."""
