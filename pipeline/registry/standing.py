"""What serves according to the ledger: the champion, its judged fit, or the best baseline in its place, and why."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import NightcastError
from pipeline.registry.ledger import Entry, Ledger
from pipeline.registry.tracking import Registry

log = logging.getLogger(__name__)

Serving = Literal["champion", "judged fit", "best baseline"]
VerdictKind = Literal["worse_than_baseline", "better_than_baseline", "refit_worse"]


class LiveVerdict(BaseModel):
    """What the forecasts of the champion's recipe and the observations that followed show, with the numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: VerdictKind
    rivals: tuple[str, ...] = ()
    """Names of the best baselines that were compared, the latest first; none for `refit_worse`."""
    skill: float | None
    """1 - CRPS of the champion / CRPS of the baseline; of `refit_worse` over the judged fit. None if these made no
    error, as forecasts of rain in a dry season."""
    p_value: float
    """Anytime-valid p-value of the hypothesis that there is no difference."""
    cases: int
    """Number of forecasts compared."""
    since: datetime
    """First issue time of these."""
    until: datetime
    """Last issue time of these."""
    champion_row: int | None = None
    """Number of the ledger row that had put the judged recipe into service; None in rows of earlier releases."""


@dataclass(frozen=True)
class Step:
    """A live verdict in the ledger."""

    at: datetime
    verdict: LiveVerdict


@dataclass(frozen=True)
class Standing:
    """What serves at an instant, as far as the ledger shows it."""

    row: int = 0
    """Number of the row that put the champion's recipe into service; 0 without a champion."""
    versions: tuple[int, ...] = ()
    """Registry versions of the champion's recipe since then, oldest first."""
    since: datetime | None = None
    """Time from which the recipe serves."""
    down: Step | None = None
    """Why the best baseline serves in place of the champion; None if it does not."""
    judged: Step | None = None
    """Why the judged fit serves in place of the refit; None if it does not."""
    recovery: Step | None = None
    """The last step up, back to the champion, with no step down since."""
    skill_since: datetime | None = None
    """Time of the last step between champion and baseline, or `since`: the next rests on later forecasts."""
    refit_since: datetime | None = None
    """The same of the refit and its judged fit."""
    retrain_requested: datetime | None = None
    """Time of the last step down, which asks for a retrain; None without one, or if there was a retrain since."""

    @property
    def serving(self) -> Serving:
        """What serves."""
        return "best baseline" if self.down else "judged fit" if self.judged else "champion"

    @property
    def step(self) -> Step | None:
        """The live verdict that explains what serves; None if there was none."""
        return self.down or self.judged or self.recovery

    @property
    def reason(self) -> str:
        """Why, in one sentence; empty if the champion serves and has served all along."""
        return describe_live_verdict(self.step.verdict) if self.step else ""


def standing_of(rows: Iterable[Entry]) -> Standing:
    """Return what serves after the rows of a ledger, in order of writing.

    A promotion and a rollback begin anew: another recipe serves, or somebody has decided. A refresh does not bring the
    champion back, because the gate compares it with the fit before it and not with the baselines; but it replaces a
    refit that was worse than its judged fit.
    """
    now = Standing()
    for row in rows:
        match row.action:
            case "promoted" | "rollback":
                now = Standing(row.number, (row.version,), row.at, skill_since=row.at, refit_since=row.at)
            case "refreshed":
                requested = _still_requested(now, row)
                now = replace(now, versions=(*now.versions, row.version), judged=None, retrain_requested=requested)
            case "refused":
                now = replace(now, retrain_requested=_still_requested(now, row))
            case "stepped_down" | "stepped_up":
                now = _step(now, row)
    return now


def standing_at(ledger: Ledger, at: datetime) -> Standing:
    """Return what serves after the decisions up to an instant.

    Raises:
        StoreError: the ledger cannot be read.
    """
    return standing_of(row for row in reversed(ledger.read()) if row.at <= at)


def standing_before(ledger: Ledger, issue_time: datetime) -> Standing:
    """Return what serves at an issue time, by the decisions before it on the recipe that is the champion at present.

    The present champion forecasts in replays too. Where another recipe served at the issue time, what was decided on
    that does not concern the champion. A decision is dated with the start of its job. A forecast that was made while
    the job ran did not know it yet, and a replay of that forecast does.

    Raises:
        StoreError: the ledger cannot be read.
    """
    rows = ledger.read()[::-1]
    then, present = standing_of(row for row in rows if row.at < issue_time), standing_of(rows)
    of_another_recipe = then.versions and set(then.versions).isdisjoint(present.versions)
    return Standing() if of_another_recipe else then


def tag_standing(ledger: Ledger, registry: Registry) -> None:
    """Set tags of the registered model that say what serves and why; a failure is logged, because they only inform."""
    try:
        now = standing_of(reversed(ledger.read()))
        registry.tag_product({"serving": now.serving, "serving_reason": now.reason})
    except (NightcastError, ValueError, OSError) as error:
        log.warning("%s: the tags that say what serves could not be set: %s", registry.product, error)


def describe_live_verdict(verdict: LiveVerdict) -> str:
    """Return a live verdict as a sentence, without a full stop."""
    period = f"over {verdict.cases} forecasts issued from {verdict.since:%Y-%m-%d} to {verdict.until:%Y-%m-%d}"
    # The skill is relative to the rival, so it says by how much the CRPS of the champion is higher or lower.
    if verdict.skill is None:
        difference = "above 0, unlike that"
    else:
        difference = f"{abs(verdict.skill):.1%} {'lower' if verdict.skill > 0 else 'higher'} than that"
    now, *before = verdict.rivals or ("",)
    rivals = f"the best baseline, {now}" + (f" (before that {', '.join(before)})" if before else "")
    match verdict.kind:
        case "worse_than_baseline":
            return (
                f"the champion has lost its skill: {period}, its CRPS was {difference} of {rivals}, which serves "
                "in its place"
            )
        case "better_than_baseline":
            return f"the champion has recovered and serves again: {period}, its CRPS was {difference} of {rivals}"
        case "refit_worse":
            return (
                f"the champion's fit on all data has become worse than its judged fit: {period}, its CRPS was "
                f"{difference} of the judged fit, which serves until the next refresh"
            )


def _still_requested(now: Standing, retrain: Entry) -> datetime | None:
    """Return the time of the request that a retrain leaves open, because it began before; None if there is none."""
    requested = now.retrain_requested
    return requested if requested and retrain.at < requested else None


def _step(now: Standing, row: Entry) -> Standing:
    try:
        step = Step(row.at, LiveVerdict.model_validate_json(row.numbers))
    except ValidationError as error:
        log.warning("row %d of the ledger holds no live verdict and is skipped: %s", row.number, error)
        return now
    verdict = step.verdict
    # Another recipe may have been promoted, or the champion refreshed, while the verdict was computed.
    if verdict.champion_row not in (None, now.row):
        return now
    match verdict.kind:
        case "worse_than_baseline":
            return replace(now, down=step, recovery=None, skill_since=step.at, retrain_requested=step.at)
        case "better_than_baseline":
            return replace(now, down=None, recovery=step, skill_since=step.at, retrain_requested=None)
        case "refit_worse" if now.versions[-1:] in ((), (row.version,)):
            return replace(now, judged=step, refit_since=step.at, retrain_requested=step.at)
    return now
