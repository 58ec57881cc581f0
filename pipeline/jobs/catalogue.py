"""Every job: its parameters and its declaration. Importing this module is cheap; jobs are imported when they run."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from pipeline.jobs.job import Job, Parameters


class Positional:
    """Marks a parameter that is an argument of the command and not an option."""


def _to_utc(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _to_part(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", value)
    if match is None:
        raise ValueError(f"{value!r} is not a part; write K/N, e.g. 2/8")
    return int(match[1]), int(match[2])


def _to_span(value: object) -> object:
    if not isinstance(value, str):
        return value
    from pipeline.config.base import parse_duration  # not while the list of jobs is imported

    return parse_duration(value)


Instant = Annotated[datetime, AfterValidator(_to_utc)]
"""A time; without an offset it is in UTC."""
Part = Annotated[
    tuple[int, int], BeforeValidator(_to_part), WithJsonSchema({"type": "string", "pattern": r"^\d{1,6}/\d{1,6}$"})
]
"""One of n parts of the work, written K/N."""
Span = Annotated[timedelta, BeforeValidator(_to_span), WithJsonSchema({"type": "string", "examples": ["1d", "2w"]})]
"""A length of time, written as in a product file."""
Sentence = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]

At = Annotated[
    Instant | None,
    Field(
        title="Current time",
        description="Time that counts as now. Default: now, or the time for which the run was scheduled.",
    ),
]
Why = Annotated[Sentence, Field(title="Reason", description="Why you do this, for the record.")]
Who = Annotated[
    str,
    Field(
        title="Your name",
        description="Your name, for the record. Default: your user name, or the name of the Prefect run.",
        max_length=500,
    ),
]
Ids = Annotated[
    tuple[str, ...],
    Field(title="Ids of rows", description="Ids of rows, or prefixes that match a single id each."),
    Positional(),
]
Reason = Annotated[
    str,
    Field(title="Reason for refusal", description="All rows whose reason contains this text.", max_length=500),
]


class NoParameters(Parameters):
    """No parameters besides the product."""


class AtParameters(Parameters):
    """The current time."""

    at: At = None


class IngestParameters(Parameters):
    """What to ingest."""

    at: Annotated[
        Instant | None,
        Field(title="Known at", description="Time at which the values became known. Default: when they are fetched."),
    ] = None
    since: Annotated[
        Instant | None, Field(title="From", description="First valid time. Default: everything that is new.")
    ] = None
    until: Annotated[
        Instant | None, Field(title="Until", description="Last valid time. Default: everything that is new.")
    ] = None


class ForecastParameters(AtParameters):
    """Which issue times to forecast."""

    since: Annotated[
        Instant | None, Field(title="From", description="First issue time of a range. Default: only the latest.")
    ] = None
    until: Annotated[Instant | None, Field(title="Until", description="Last issue time of the range.")] = None


class MaintainParameters(Parameters):
    """Whether to repair."""

    repair: Annotated[
        bool,
        Field(title="Repair damage", description="Set damaged commits aside and ingest their payloads again."),
    ] = False
    at: Annotated[
        Instant | None,
        Field(title="Current time", description="Time against which file ages are measured. Default: now."),
    ] = None


class PromoteParameters(Parameters):
    """Which version, who and why."""

    version: Annotated[
        int, Field(ge=1, title="Version of the model", description="Version in the model registry."), Positional()
    ]
    why: Why
    who: Who = ""


class RollbackParameters(Parameters):
    """Who and why."""

    why: Why
    who: Who = ""


class BackfillParameters(Parameters):
    """The range, and the part of the work."""

    since: Annotated[Instant, Field(title="From", description="First valid time.")]
    until: Annotated[Instant, Field(title="Until", description="Last valid time.")]
    part: Annotated[
        Part,
        Field(
            title="Part",
            description="K/N: only the k-th of n parts of the work; each part may run on its own machine.",
        ),
    ] = Field(default="1/1", validate_default=True)
    at: Annotated[
        Instant | None,
        Field(title="Known at", description="Time at which corrections became known. Default: when they are fetched."),
    ] = None


class BacktestParameters(Parameters):
    """The range, the models, and the part of the work."""

    since: Annotated[Instant, Field(title="From", description="First origin: the models are trained as of then.")]
    until: Annotated[Instant, Field(title="Until", description="Last issue time.")]
    models: Annotated[
        tuple[str, ...],
        Field(
            title="Models",
            description="Models to compare; repeat the option for each. Default: the product's candidates and all "
            "baselines.",
        ),
    ] = ()
    every: Annotated[
        Span, Field(title="Train every", description="Time from one training to the next, such as 1d or 2w.")
    ] = Field(default="1w", validate_default=True)
    part: Annotated[
        Part,
        Field(
            title="Part",
            description="K/N: only the k-th of n parts of the work; each part may run on its own machine.",
        ),
    ] = Field(default="1/1", validate_default=True)
    at: Annotated[
        Instant | None,
        Field(title="Verified at", description="The forecasts are scored against what was known then. Default: now."),
    ] = None


class ExplainParameters(AtParameters):
    """Which version."""

    version: Annotated[
        int | None,
        Field(ge=1, title="Version of the model", description="Version in the model registry. Default: the champion."),
    ] = None


class SearchParameters(Parameters):
    """The model, and how long to search."""

    model: Annotated[
        str,
        Field(title="Model", description="Model whose options are searched, such as ridge-var.", min_length=1),
    ]
    trials: Annotated[
        int, Field(ge=1, title="Trials", description="Most sets of options to try, with the present ones.")
    ] = 50
    budget: Annotated[
        Span, Field(title="Budget", description="Time that the search may take, such as 30min or 8h.")
    ] = Field(default="30min", validate_default=True)
    seed: Annotated[int, Field(ge=0, title="Seed", description="Seed of the choice of options.")] = 0
    at: At = None


class ShowParameters(Parameters):
    """Which rows."""

    ids: Ids = ()
    reason: Reason = ""
    limit: Annotated[int, Field(ge=1, title="Limit", description="Number of rows to show.")] = 20


class DropParameters(Parameters):
    """Which rows, who and why."""

    who: Annotated[Sentence, Field(title="Your name", description="Your name, for the record.")]
    why: Why
    ids: Ids = ()
    reason: Reason = ""


class ReleaseParameters(DropParameters):
    """Which rows, who and why, and whether checks of values count."""

    override: Annotated[
        bool,
        Field(title="Override the contract", description="Store values that the data contract refuses."),
    ] = False


JOBS = (
    Job(
        "ingest",
        "pipeline.jobs.ingest:ingest",
        "Ingest what is new in the feeds. Payloads are kept, good rows are stored, and refused rows go to quarantine "
        "with a reason.",
        IngestParameters,
        scheduled=True,
    ),
    Job(
        "forecast",
        "pipeline.jobs.forecast:forecast",
        "Forecast and publish the latest issue time, or every one of a range. The champion is used, or else the best "
        "fallback.",
        ForecastParameters,
        scheduled=True,
    ),
    Job(
        "retrain",
        "pipeline.jobs.retrain:retrain",
        "Train candidates and let the gate decide whether the best becomes champion. If the gate refuses, the champion "
        "stays.",
        AtParameters,
        scheduled=True,
        timeout=timedelta(hours=6),
    ),
    Job(
        "verify",
        "pipeline.jobs.verify:verify",
        "Score matured forecasts against observations. If the champion is shown to have become worse than the best "
        "baseline, this serves in its place until it has recovered.",
        AtParameters,
        scheduled=True,
    ),
    Job(
        "maintain",
        "pipeline.jobs.maintain:maintain",
        "Verify every digest, compact tables and delete files that are no longer needed.",
        MaintainParameters,
        scheduled=True,
        timeout=timedelta(hours=6),
    ),
    Job(
        "promote",
        "pipeline.jobs.promote:promote",
        "Make a registered version the champion without asking the gate. The ledger keeps the reason.",
        PromoteParameters,
        timeout=timedelta(minutes=10),
    ),
    Job(
        "rollback",
        "pipeline.jobs.promote:rollback",
        "Make the previous champion the champion again. The ledger keeps the reason.",
        RollbackParameters,
        view="promote",
        timeout=timedelta(minutes=10),
    ),
    Job(
        "backfill",
        "pipeline.jobs.backfill:backfill",
        "Ingest observations of a range of the past as history, piece by piece, without covariates. Pieces that an "
        "earlier run finished are not repeated.",
        BackfillParameters,
        timeout=timedelta(days=1),
    ),
    Job(
        "backtest",
        "pipeline.jobs.backtest:backtest",
        "Compare models on the past: train them at regular origins as the live system would have, forecast every issue "
        "time in between, and score the forecasts. Forecasts that an earlier run made are not made again.",
        BacktestParameters,
        timeout=timedelta(days=7),
    ),
    Job(
        "explain",
        "pipeline.jobs.explain:explain",
        "Show what the forecasts of the champion rest on: how much worse they are without each location, variable, age "
        "of observations and covariate. It is computed for a version that was registered without it.",
        ExplainParameters,
    ),
    Job(
        "search",
        "pipeline.jobs.search:search",
        "Search for better options of a model, on data before the held-out period of the gate. A later search "
        "continues. Nothing is changed: the result is a few lines for the product file.",
        SearchParameters,
        timeout=timedelta(days=7),
    ),
    Job(
        "release",
        "pipeline.jobs.release:release",
        "Store refused rows as observations. They are decoded and checked again with the current product file.",
        ReleaseParameters,
        command="quarantine release",
    ),
    Job(
        "drop",
        "pipeline.jobs.release:drop",
        "Reject refused rows for good. They are kept but no longer listed.",
        DropParameters,
        command="quarantine drop",
        view="release",
        deployed=False,
    ),
    Job(
        "list_refused",
        "pipeline.jobs.quarantine:list_refused",
        "Count the rows in quarantine by reason.",
        NoParameters,
        command="quarantine list",
        deployed=False,
    ),
    Job(
        "show_refused",
        "pipeline.jobs.quarantine:show_refused",
        "Show rows in quarantine: their values, why they were refused, and their ids.",
        ShowParameters,
        command="quarantine show",
        deployed=False,
    ),
    Job(
        "status",
        "pipeline.jobs.status:status",
        "Show whether a product is fresh, late or broken, which model serves it, and its skill.",
        AtParameters,
        deployed=False,
    ),
    Job(
        "models",
        "pipeline.jobs.models:models",
        "List the registered versions of a product, and the ledger of promotions, refusals and rollbacks.",
        NoParameters,
        deployed=False,
    ),
)


def get_job(name: str) -> Job:
    """Return the declaration of a job."""
    return next(job for job in JOBS if job.name == name)
