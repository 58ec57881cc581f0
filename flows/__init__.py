"""The only package that knows Prefect: a flow for each job, deployments with schedules, and the servers of a laptop."""
