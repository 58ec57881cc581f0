"""What each job reports: plain, frozen objects that the command line prints, flows show, and `--json` writes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

Rung = Literal[0, 1, 2, 3, 4]


class Result(BaseModel):
    """A frozen report of one job for one product."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    product: str


class IngestResult(Result):
    """What one ingest took in."""

    at: datetime
    """Instant of the ingest; known_at of what it newly learnt."""
    payloads: int
    """Payloads not seen before."""
    accepted: int
    """Rows with a new key."""
    revised: int
    """Rows that changed a known value and were appended as a revision."""
    unchanged: int
    """Rows that said what was known already."""
    refused: int
    """Rows put into quarantine."""
    reasons: dict[str, int]
    """Refused rows by reason."""
    newest: datetime | None
    """Newest valid time in the store."""
    version: int
    """Version of the observations table after the ingest."""


class Rival(BaseModel):
    """A challenger set against one rival on the same held-out forecasts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rival: str
    """Name of the model, with its version when it is the champion."""
    crps: float
    """Mean CRPS of the rival, in units of the target."""
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
    crps_by_lead: tuple[float, ...]
    coverage: float
    """Fraction of truths inside the widest interval."""
    nominal_coverage: float
    outage_crps: float
    """CRPS with a quarter of the stations silent."""
    rivals: tuple[Rival, ...]


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


class ForecastResult(Result):
    """One forecast."""

    issue_time: datetime
    rung: Rung
    """Step of the fallback ladder: 0 champion, 1 with gaps, 2 on stale input, 3 baseline, 4 climatology."""
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
    """Why higher rungs of the ladder did not serve."""


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
    rung: int | None
    page: Path | None
    skill: dict[str, float]
    """CRPS skill of published forecasts against each baseline, over all leads."""
