"""Deployments: one for each job of each product, with the product's schedules, on a pool of local processes.

`python -m flows.deployments PRODUCT...` registers them on the server that PREFECT_API_URL names.
"""

from __future__ import annotations

import argparse
import json
import sys
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

from flows.artifacts import PAGES_VARIABLE
from flows.backfill import backfill
from flows.environment import POOL, environment_of
from flows.forecast import forecast
from flows.ingest import ingest
from flows.interrupted import end_interrupted
from flows.maintain import maintain
from flows.parameters import form
from flows.promote import promote, rollback
from flows.quarantine import release
from flows.retrain import retrain
from flows.verify import verify
from pipeline.config import Product, Settings, load_product, settings
from pipeline.errors import NightcastError
from pipeline.version import code_version

SCHEDULED: tuple[Flow[..., Any], ...] = (ingest, forecast, retrain, verify, maintain)
BY_HAND: tuple[Flow[..., Any], ...] = (promote, rollback, backfill, release)


def register(products: list[Path], settings: Settings, *, pages: str = "") -> list[str]:
    """Register the deployments of products and return their names; what is there is brought up to date.

    A schedule that somebody paused stays paused. `pages` is the address of the report pages, for links.
    """
    loaded = [(path.resolve(), load_product(path)) for path in products]
    with get_client(sync_client=True) as client:
        _pool(client)
        names = [
            _deploy(client, flow, path, product, settings) for path, product in loaded for flow in SCHEDULED + BY_HAND
        ]
    if pages:
        Variable.set(PAGES_VARIABLE, pages, overwrite=True)
    return names


def _pool(client: SyncPrefectClient) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", description="Runs Nightcast's jobs here."))
    except ObjectAlreadyExists:
        return


def _deploy(client: SyncPrefectClient, flow: Flow[..., Any], path: Path, product: Product, settings: Settings) -> str:
    cron = getattr(product.schedule, flow.name, None) if flow in SCHEDULED else None
    slug = f"{flow.name}-{product.name}".replace("_", "-")
    paused = _paused(client, f"{flow.name}/{product.name}")
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
        description=_about(flow, product),
        tags=["nightcast", product.name],
        version=code_version(),
        work_pool_name=POOL,
        job_variables=_job(settings),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment._parameter_openapi_schema = form(flow)
    deployment.apply()
    return deployment.full_name


def _job(settings: Settings) -> dict[str, Any]:
    # The command itself: without it the worker would first start another process to look for code to fetch.
    return {
        "command": f"{sys.executable} -m prefect.engine",
        "working_dir": str(settings.home),
        "env": {
            **environment_of(settings),
            "PREFECT_LOGGING_EXTRA_LOGGERS": "pipeline",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        },
    }


def _about(flow: Flow[..., Any], product: Product) -> str:
    what = (flow.description or "").partition("\n\nArgs:")[0].strip()
    source = f"\n\nData: {product.feed.attribution.strip()}" if product.feed.attribution else ""
    return f"**{product.title or product.name}**\n\n{what}{source}"


def _paused(client: SyncPrefectClient, name: str) -> set[str]:
    try:
        deployment = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return set()
    return {schedule.slug for schedule in deployment.schedules if schedule.slug and not schedule.active}


def main() -> int:
    """Register the products named on the command line, and print the names of their deployments as JSON."""
    parser = argparse.ArgumentParser(prog="python -m flows.deployments", description=main.__doc__)
    parser.add_argument("products", nargs="+", type=Path, metavar="PRODUCT")
    parser.add_argument("--pages", default="", help="address of the report pages")
    parser.add_argument("--alone", action="store_true", help="no worker runs: end the runs that an earlier one left")
    given = parser.parse_args()
    here = settings()
    address = {PREFECT_API_URL: here.prefect_api_url} if here.prefect_api_url else {}
    try:
        with temporary_settings(address):
            if given.alone:
                end_interrupted()
            names = register(given.products, here, pages=given.pages)
    except NightcastError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(names) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
