"""The Prefect flow of a job: made from its declaration, with steps as tasks, time from the schedule, and retries."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar, get_type_hints

from prefect import Flow, State, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.exceptions import FailedRun
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Failed
from prefect.utilities.callables import ParameterSchema, parameter_schema
from pydantic import StringConstraints
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_chain, wait_random

from pipeline.config import Product, load_product, settings
from pipeline.errors import NoDataError, RefusedError, UpstreamError, UsageError
from pipeline.jobs.catalogue import get_job
from pipeline.jobs.job import Job
from pipeline.times import latest_of
from pipeline.workspace import Workspace

P = ParamSpec("P")
T = TypeVar("T")
Finish = Callable[[Workspace, Any], State[Any]]
"""Publishes the artifacts of a result and returns the final state of the run."""
Fail = Callable[[Workspace, datetime], None]
"""Publishes the artifacts of a job that began at an instant and ended with an error."""
Clock = Callable[[Product, str], datetime | None]
"""Returns the time that counts as now for a product and a job; None if the job finds out itself."""

WAITS = (20.0, 60.0)
"""Seconds between the attempts of a job after upstream failures, each varied at random by half."""
PRODUCT = {"title": "Product file", "description": "Path of the product file on the worker's machine."}


class _NoTraceback(logging.Filter):
    """Drops the traceback of a run that ended as Failed on purpose: the message of its state says it in one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is kept."""
        return not (record.exc_info and record.exc_info[0] is FailedRun)


_NO_TRACEBACK = _NoTraceback()


def make_flow(name: str, finish: Finish, *, fail: Fail | None = None, now: Clock | None = None) -> Flow[..., Any]:
    """Return the flow of a job. Its parameters are flat, so `prefect deployment run -p` can set a single one.

    Args:
        name: Name of the job.
        finish: Publishes the artifacts of a result and returns the final state.
        fail: Publishes the artifacts of a job that ended with an error, if it has any.
        now: Time that counts as now, if the form leaves it open.
    """
    job = get_job(name)
    hints = get_type_hints(job.parameters, include_extras=True)
    annotations: dict[str, Any] = {"product": Annotated[str, StringConstraints(min_length=1)]}
    annotations |= {name: hints[name] for name in job.parameters.model_fields}
    parameters = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=_default(job, name), annotation=kind)
        for name, kind in annotations.items()
    ]
    signature = inspect.Signature(parameters, return_annotation=State[Any])

    def body(*args: Any, **kwargs: Any) -> State[Any]:
        given = signature.bind(*args, **kwargs).arguments
        return run_job(job, given.pop("product"), given, finish, fail, now)

    body.__signature__ = signature  # type: ignore[attr-defined]
    body.__annotations__ = {**annotations, "return": State[Any]}
    body.__name__ = body.__qualname__ = job.name
    body.__module__ = f"flows.{job.module}"  # where a worker finds the flow
    body.__doc__ = job.summary
    made: Flow[..., Any] = flow(
        name=job.name,
        flow_run_name=run_name,
        timeout_seconds=job.timeout.total_seconds(),
        log_prints=True,
        persist_result=False,
    )(body)
    return made


def form(job: Job, made: Flow[..., Any]) -> ParameterSchema:
    """Return the schema of a flow's parameters, with the titles and descriptions of the declaration."""
    schema = parameter_schema(made)
    for name, field in schema.properties.items():
        declared = job.parameters.model_fields.get(name)
        field |= PRODUCT if declared is None else {"title": declared.title, "description": declared.description}
    return schema


def run_job(
    job: Job, path: str, values: dict[str, Any], finish: Finish, fail: Fail | None, now: Clock | None
) -> State[Any]:
    """Run a job on a product file and return the final state of the run.

    Upstream failures are retried a few times, since they may pass; usage errors and refusals are not. Internal errors
    are raised, so that the log holds their traceback.
    """
    logging.getLogger("prefect.flow_runs").addFilter(_NO_TRACEBACK)
    try:
        product = load_product(Path(path))
        arguments = dict(job.parameters.model_validate(values))
        if now is not None and arguments.get("at") is None:
            arguments["at"] = now(product, job.name)
        if arguments.get("who") == "":
            arguments["who"] = f"Prefect run {flow_run.name}"
        with Workspace.open(product, settings()) as ws:
            began = arguments.get("at") or datetime.now(UTC)
            try:
                result = _retrying()(job, ws, arguments, run=as_task, on_progress=print)
            except (UpstreamError, RefusedError):
                if fail is not None:
                    fail(ws, began)
                raise
            return finish(ws, result)
    except UsageError as error:
        return Failed(message=f"Usage error: {error}")
    except UpstreamError as error:
        return Failed(message=f"Upstream failure: {error}")
    except RefusedError as error:
        return Failed(message=f"Refused: {error}")


def as_task(step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a step as a Prefect task with its name; it is not cached, stored or retried."""

    def run() -> T:
        return step(*args, **kwargs)  # a closure, because Prefect would search every argument for futures

    name = getattr(step, "__name__", "step").strip("_").replace("_", "-")
    run.__doc__ = step.__doc__
    run.__qualname__ = name
    wrap = task(name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False, retries=0)
    return wrap(run)()


def run_name() -> str:
    """Return the name of a run: the product, and the minute for which it was scheduled."""
    product = Path(str(flow_run.parameters.get("product", ""))).stem or "run"
    return f"{product} {scheduled_time():%Y-%m-%d %H:%M}"


def scheduled_time() -> datetime:
    """Return the time for which the run was scheduled; for a run by hand, when it was requested."""
    instant: datetime = flow_run.scheduled_start_time
    return instant.astimezone(UTC)


def current_time(product: Product, job: str) -> datetime | None:
    """Return the time that counts as now for a run of a scheduled job; None for an archive, whose data determine it.

    It comes from the schedule, not from the clock of this machine. After an outage the scheduler starts every missed
    run, oldest first. The first of them uses the newest scheduled time that has passed, so that the newest issue time
    is forecast first; the later ones find their work done.
    """
    if product.feed.mode == "archive":
        return None
    planned = scheduled_time()
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or not run.auto_scheduled or run.state is None:
        return planned
    newest = latest_of(product.cron(job), product.schedule.time_zone, run.state.timestamp)
    if newest > planned:
        get_run_logger().warning("The run scheduled for %s is late; it runs as that of %s", planned, newest)
    return max(planned, newest)


def _retrying() -> Retrying:
    def log(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        get_run_logger().warning("%s; the next attempt is in %.0f s", error, state.upcoming_sleep)

    return Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, UpstreamError) and not isinstance(error, NoDataError)),
        stop=stop_after_attempt(len(WAITS) + 1),
        wait=wait_chain(*(wait_random(0.5 * wait, 1.5 * wait) for wait in WAITS)),
        before_sleep=log,
        reraise=True,
    )


def _default(job: Job, name: str) -> Any:
    field = job.parameters.model_fields.get(name)
    return inspect.Parameter.empty if field is None or field.is_required() else field.default
