"""How a flow runs its job: each step a task, time from the schedule, upstream failures tried again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import Any, Literal, ParamSpec, TypeVar

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.exceptions import FailedRun
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Failed

from pipeline.config import Product, load_product, settings
from pipeline.errors import NoDataError, RefusedError, UpstreamError, UsageError
from pipeline.times import latest_of
from pipeline.workspace import Workspace

P = ParamSpec("P")
T = TypeVar("T")
Scheduled = Literal["ingest", "forecast", "retrain", "verify"]

WAITS = (20.0, 60.0)
"""Seconds between the tries of a job that the world let down."""


class _NoTraceback(logging.Filter):
    """Drops the traceback of a run that ended as Failed by our word: its state tells the same in one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is anything else."""
        return not (record.exc_info and record.exc_info[0] is FailedRun)


_NO_TRACEBACK = _NoTraceback()


def as_task(step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a step as a Prefect task of its name: tracked, never cached, stored or tried again."""

    def run() -> T:
        return step(*args, **kwargs)  # closed over: Prefect would search every argument for futures

    name = getattr(step, "__name__", "step").strip("_").replace("_", "-")
    run.__doc__ = step.__doc__
    run.__qualname__ = name
    wrap = task(name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False, retries=0)
    return wrap(run)()


def run_name() -> str:
    """Return what a run is called: the product, and the minute that it was scheduled for."""
    product = Path(str(flow_run.parameters.get("product", ""))).stem or "run"
    return f"{product} {scheduled_time():%Y-%m-%d %H:%M}"


def scheduled_time() -> datetime:
    """Return the instant for which the run was scheduled; by hand, that is when it was asked for."""
    instant: datetime = flow_run.scheduled_start_time
    return instant.astimezone(UTC)


def now_of(product: Product, at: datetime | None, job: Scheduled) -> datetime | None:
    """Return the instant that counts as now for a job; None where the product's record says it.

    It comes from the schedule, never from this machine's clock. After an outage the scheduler starts every
    run that it missed, oldest first: such a late run stands in for the newest time of the schedule that has
    passed since, so that the newest issue comes first and the later runs find their work done.
    """
    if at is not None:
        return at
    if product.feed.mode == "archive":
        return None
    planned = scheduled_time()
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or not run.auto_scheduled or run.state is None:
        return planned
    newest = latest_of(getattr(product.schedule, job), product.schedule.time_zone, run.state.timestamp)
    if newest > planned:
        get_run_logger().warning("The run of %s is late; it stands in for %s", planned, newest)
    return max(planned, newest)


def run_job(path: str, job: Callable[[Workspace], T], tell: Callable[[Product, T], State[Any]]) -> State[Any]:
    """Run a job on a product file and return the final state that tells how it ended.

    Upstream failures are tried again a few times, since they may pass; wrong use and refusals are not. Our
    own faults are raised, so that the log holds their traceback.
    """
    logging.getLogger("prefect.flow_runs").addFilter(_NO_TRACEBACK)
    try:
        product = load_product(Path(path))
        with Workspace.open(product, settings()) as ws:
            return tell(product, _patiently(job, ws))
    except UsageError as error:
        return Failed(message=f"Wrong use: {error}")
    except UpstreamError as error:
        return Failed(message=f"Upstream failure: {error}")
    except RefusedError as error:
        return Failed(message=f"Refused: {error}")


def _patiently(job: Callable[[Workspace], T], ws: Workspace) -> T:
    for wait in WAITS:
        try:
            return job(ws)
        except NoDataError:
            raise
        except UpstreamError as error:
            pause = wait * SystemRandom().uniform(0.5, 1.5)
            get_run_logger().warning("%s; the next try is in %.0f s", error, pause)
            time.sleep(pause)
    return job(ws)
