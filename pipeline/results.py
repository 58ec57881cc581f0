"""What each job reports: plain, frozen objects that the command line prints, flows show, and `--json` writes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipeline.fallback_level import FallbackLevel

Places = Literal["stations", "cells"]


class Result(BaseModel):
    """A frozen report of one job for one product."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    product: str


class FeedResult(BaseModel):
    """What was taken in of one feed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    payloads: int
    """Payloads looked at."""
    accepted: int
    """Rows with a new key."""
    revised: int
    """Rows that changed a known value and were appended as a revision."""
    unchanged: int
    """Rows that said what was known already."""
    refused: int
    """Rows put into quarantine."""
    thinned: int
    """Rows left out because another one stands for the same step."""
    reasons: dict[str, int]
    """Refused rows by reason."""
    warnings: tuple[str, ...]
    """What was odd and was kept."""
    faults: tuple[str, ...]
    """Payloads that could not be had or used, and why."""
    newest: datetime | None
    """Newest valid time in the store."""
    version: int
    """Version of the observations table afterwards."""


class IngestResult(FeedResult, Result):
    """What one ingest took in."""

    at: datetime
    """Instant of the ingest; known_at of what it newly learnt."""
    covariates: dict[str, FeedResult] = {}
    """The same of each feed known in advance."""


class BackfillResult(FeedResult, Result):
    """What one backfill took in of a range of valid times."""

    since: datetime
    until: datetime
    part: tuple[int, int]
    """(k, n): the k-th of n parts of the work."""
    pieces: int
    """Windows or payloads of this part."""
    repeated: int
    """Those of them that an earlier backfill had finished."""


class RefusedGroup(BaseModel):
    """Rows in quarantine for one reason."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    feed: str
    """The product, or the product and the name of a covariate."""
    reason: str
    rows: int
    first: datetime | None
    """Earliest valid time; None where none could be read."""
    last: datetime | None
    example: str
    """Id of one of the rows."""


class QuarantineResult(Result):
    """What is in quarantine, by reason."""

    groups: tuple[RefusedGroup, ...]
    released: int
    """Rows released so far."""
    dropped: int
    """Rows dropped so far."""


class RefusedRow(BaseModel):
    """One row in quarantine."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    feed: str
    valid_time: datetime | None
    location: str | None
    values: str
    """What was given, as JSON."""
    reason: str
    quarantined_at: datetime
    payload: str
    """SHA-256 of the payload it came in."""
    name: str
    """Name of that payload."""


class RefusedRows(Result):
    """Rows in quarantine."""

    rows: tuple[RefusedRow, ...]
    total: int
    """How many there are in all; `rows` may show fewer."""


class ReleaseResult(Result):
    """What became of rows that somebody released or dropped."""

    action: Literal["released", "dropped"]
    rows: int
    accepted: int
    revised: int
    unchanged: int
    who: str
    why: str


class MaintainedTable(BaseModel):
    """What maintenance did to one table."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    table: str
    version: int
    compacted: int
    """Files that became part of a bigger one."""
    removed: int
    """Files deleted that no kept version names."""
    damage: tuple[str, ...]
    """What does not match its digest."""
    repaired: tuple[str, ...]
    """What was set aside."""


class MaintainResult(Result):
    """What maintenance found and did."""

    at: datetime
    tables: tuple[MaintainedTable, ...]
    payloads: int
    """Raw payloads whose digest was checked."""
    damage: tuple[str, ...]
    """Everything that does not match its digest."""
    taken_again: int
    """Payloads taken in again after a repair."""


class Rival(BaseModel):
    """A challenger set against one rival on the same held-out forecasts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rival: str
    """Name of the model, with its version when it is the champion."""
    crps: float
    """Mean CRPS of the rival, in units of the target; of several targets, each relative to climatology's."""
    crps_by_lead: tuple[float, ...]
    skill: float
    """1 - CRPS of the challenger / CRPS of the rival."""
    p_value: float
    """One-sided Diebold-Mariano probability that the challenger is not better."""
    beaten: bool


class Verdict(BaseModel):
    """What the gate decided, and every number behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    promoted: bool
    reason: str
    """The verdict in one sentence."""
    challenger: str
    issues: int
    """Held-out issue times scored."""
    since: datetime
    until: datetime
    crps: float
    """Mean CRPS of the challenger, in units of the target; of several targets, each relative to climatology's."""
    crps_by_lead: tuple[float, ...]
    coverage: float
    """Fraction of truths inside the widest interval."""
    nominal_coverage: float
    outage_crps: float
    """CRPS with a quarter of the places silent."""
    rivals: tuple[Rival, ...]
    places: Places = "stations"
    """What the locations are."""


class Candidate(BaseModel):
    """What became of one candidate of a retrain."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    validation_crps: float | None
    """On the validation issue times, where the lowest becomes the challenger; None where it could not be trained."""
    remarks: tuple[str, ...] = ()
    """What the fitted model says a person should know of it."""
    problem: str = ""
    """Why it could not be trained."""


class RetrainResult(Result):
    """What one retrain made of the data."""

    at: datetime
    snapshot: str
    """Digest of everything training saw."""
    version: int
    """Registry version of the challenger."""
    digest: str
    """Digest of the challenger's checkpoint."""
    run_id: str
    """MLflow run."""
    champion: int | None
    """Registry version in service afterwards."""
    verdict: Verdict
    repeated: bool
    """Whether the same snapshot had been trained before, so that nothing was done."""
    candidates: tuple[Candidate, ...] = ()
    """In the order of the product file; empty for a retrain that was recorded without them."""
    warnings: tuple[str, ...] = ()
    """What was odd about the data, a line each."""


class ForecastResult(Result):
    """One forecast."""

    issue_time: datetime
    fallback_level: FallbackLevel
    """0 champion, 1 champion with gaps, 2 champion on stale input, 3 baseline, 4 climatology."""
    model: str
    version: int | None
    digest: str
    input_age_hours: float
    """Issue time minus the newest valid time used, in hours."""
    missing: tuple[str, ...]
    """Stations without a value in the newest frame."""
    folder: Path
    """Where it is published."""
    repeated: bool
    """Whether this issue time had been published before, so that nothing was done."""
    notes: tuple[str, ...] = ()
    """Why better fallback levels were not used."""


class LeadScore(BaseModel):
    """Scores of one model at one lead over matured forecasts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str
    variable: str
    lead: int
    """Steps after the issue time, from 1."""
    count: int
    crps: float
    mae: float
    rmse: float
    bias: float
    coverage: float
    """Fraction of truths inside the widest interval."""


class VerifyResult(Result):
    """What matured forecasts were worth."""

    at: datetime
    forecasts: int
    """Issue times whose first value is due."""
    scored: int
    """Forecast values scored, of the published model."""
    scores: tuple[LeadScore, ...]
    """By model, variable and lead, over shared valid times; the published forecast is called 'published'."""


class ModelVersion(BaseModel):
    """A registry version."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: int
    model: str
    aliases: tuple[str, ...]
    digest: str
    trained_until: datetime
    crps: float | None
    """On the held-out issue times of its own retrain."""
    verdict: str
    run_id: str


class LedgerEntry(BaseModel):
    """One change of champion, or one refusal."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: datetime
    action: str
    version: int
    previous: int | None
    who: str
    why: str


class ModelsResult(Result):
    """The registry versions of a product, newest first, and the ledger of what was in service."""

    versions: tuple[ModelVersion, ...]
    ledger: tuple[LedgerEntry, ...]


class PromotionResult(Result):
    """A change of champion by command."""

    action: Literal["promote", "rollback"]
    version: int
    previous: int | None
    who: str
    why: str


class StatusResult(Result):
    """Whether a product is fresh, late or broken."""

    now: datetime
    state: Literal["fresh", "late", "broken"]
    reason: str
    home: Path
    observations: int
    newest: datetime | None
    refused: int
    champion: int | None
    model: str | None
    last_issue: datetime | None
    fallback_level: FallbackLevel | None
    """Of the last forecast."""
    page: Path | None
    skill: dict[str, float]
    """CRPS skill of published forecasts against each baseline, over all leads; each variable counts the same."""
