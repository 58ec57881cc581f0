"""The only place that knows Prefect: one flow a job, deployments with schedules, and the laptop's servers."""
