"""The only package that knows Prefect: a flow for each job, deployments with schedules, and the local services."""

LOOPBACK = "127.0.0.1"
"""The address on which everything listens."""
