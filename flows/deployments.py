"""Deployments: one for each job of each product, with the product's schedules, on a pool of local processes.

`python -m flows.deployments PRODUCT...` registers them at the server that PREFECT_API_URL names.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.types.entrypoint import EntrypointType
from prefect.variables import Variable

from flows.environment import POOL, environment_of
from flows.forecast import PAGES_VARIABLE
from flows.running import form
from flows.stale_runs import crash_stale_runs
from pipeline.config import Product, Settings, load_product, settings
from pipeline.errors import NightcastError
from pipeline.jobs.catalogue import JOBS
from pipeline.jobs.job import Job
from pipeline.version import code_version

DEPLOYED = tuple(job for job in JOBS if job.deployed)


def load_flow(job: Job) -> Flow[..., Any]:
    """Return the flow of a job."""
    found: Flow[..., Any] = getattr(import_module(f"flows.{job.module}"), job.name)
    return found


def register(products: list[Path], settings: Settings, *, pages: str = "") -> list[str]:
    """Register the deployments of products and return their names; existing deployments are updated.

    A paused schedule stays paused. `pages` is the address of the report pages, for links.
    """
    loaded = [(path.resolve(), load_product(path)) for path in products]
    with get_client(sync_client=True) as client:
        _create_pool(client)
        names = [_deploy(client, job, path, product, settings) for path, product in loaded for job in DEPLOYED]
    if pages:
        Variable.set(PAGES_VARIABLE, pages, overwrite=True)
    return names


def _create_pool(client: SyncPrefectClient) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", description="Runs Nightcast's jobs here."))
    except ObjectAlreadyExists:
        return


def _deploy(client: SyncPrefectClient, job: Job, path: Path, product: Product, settings: Settings) -> str:
    flow = load_flow(job)
    cron = product.cron(job.name) if job.scheduled else None
    slug = f"{job.name}-{product.name}".replace("_", "-")
    paused = _paused_schedules(client, f"{job.name}/{product.name}")
    deployment = RunnerDeployment.from_flow(
        flow,
        name=product.name,
        schedules=[
            DeploymentScheduleCreate(
                schedule=CronSchedule(cron=cron, timezone=product.schedule.time_zone),
                slug=slug,
                active=slug not in paused,
            )
        ]
        if cron
        else None,
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        parameters={"product": str(path)},
        description=_description(job, product),
        tags=["nightcast", product.name],
        version=code_version(),
        work_pool_name=POOL,
        job_variables=_job_variables(settings),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment._parameter_openapi_schema = form(job, flow)
    deployment.apply()
    return deployment.full_name


def _job_variables(settings: Settings) -> dict[str, Any]:
    # The command is given, because otherwise the worker would first start another process to look for code to fetch.
    return {
        "command": f"{sys.executable} -m prefect.engine",
        "working_dir": str(settings.home),
        "env": {
            **environment_of(settings),
            "PREFECT_LOGGING_EXTRA_LOGGERS": "pipeline,models,flows",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        },
    }


def _description(job: Job, product: Product) -> str:
    source = f"\n\nData: {product.feed.attribution.strip()}" if product.feed.attribution else ""
    return f"**{product.title or product.name}**\n\n{job.summary}{source}"


def _paused_schedules(client: SyncPrefectClient, name: str) -> set[str]:
    try:
        deployment = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return set()
    return {schedule.slug for schedule in deployment.schedules if schedule.slug and not schedule.active}


def main() -> int:
    """Register the deployments of product files, and print their names as JSON."""
    parser = argparse.ArgumentParser(prog="python -m flows.deployments", description=main.__doc__)
    parser.add_argument("products", nargs="+", type=Path, metavar="PRODUCT")
    parser.add_argument("--pages", default="", help="address of the report pages")
    parser.add_argument("--alone", action="store_true", help="no worker runs: mark unfinished runs as crashed")
    given = parser.parse_args()
    here = settings()
    address = {PREFECT_API_URL: here.prefect_api_url} if here.prefect_api_url else {}
    try:
        with temporary_settings(address):
            if given.alone:
                crash_stale_runs()
            names = register(given.products, here, pages=given.pages)
    except NightcastError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(names) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
