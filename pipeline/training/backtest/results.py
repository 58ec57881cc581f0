"""The results of a backtest as typed values."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

GroupKind = Literal["overall", "lead", "season", "hour", "location"]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Score(_Facts):
    """Mean scores of one model for one variable over a group of forecasts, the same for every model."""

    model: str
    variable: str
    by: GroupKind
    group: str
    """The lead in steps, from 1; the season, as DJF; the hour of the day in UTC; the id of the location; or empty.
    Seasons and hours are those of the valid time, or of the start of a period whose source labels it so."""
    count: int
    """Number of forecast values."""
    crps: float
    mae: float
    """Mean absolute error of the median."""
    rmse: float
    """Root mean square error of the median."""
    bias: float
    """Mean of median minus truth."""
    coverage: tuple[float, ...]
    """Fraction of truths inside each interval, in the order of `nominal_coverages`."""


class Skill(_Facts):
    """The CRPS skill score of one model against a reference, with a confidence interval."""

    model: str
    variable: str
    reference: str
    lead: int | None
    """Steps after the issue time, from 1; None over all leads."""
    skill: float
    """1 - CRPS / CRPS of the reference."""
    low: float | None
    """Lower bound; None if there are too few issue times for an interval."""
    high: float | None
    """Upper bound."""


class Reliability(_Facts):
    """How well the quantiles of one model are calibrated for one variable."""

    model: str
    variable: str
    frequencies: tuple[float, ...]
    """Fraction of truths that are not above the quantile of each level; equal to the level if calibrated."""
    pit: tuple[float, ...]
    """Histogram of the probability integral transform between the levels and 0 and 1, as densities; 1 if calibrated."""


class Problem(_Facts):
    """Something that went wrong with a model."""

    model: str
    text: str
    origins: int
    """Number of origins where it happened."""


class BacktestScores(_Facts):
    """All scores of a backtest, over the forecasts that all scored models have."""

    models: tuple[str, ...]
    """The scored models."""
    levels: tuple[float, ...]
    nominal_coverages: tuple[float, ...]
    """Of each interval, the widest first."""
    issues: int
    """Issue times, with and without scores."""
    block: int
    """Issue times in a block of the bootstrap."""
    confidence: float
    """Of the intervals of skill."""
    best_baseline: dict[str, str]
    """The baseline with the lowest CRPS by variable; empty without baselines."""
    scores: tuple[Score, ...]
    skill: tuple[Skill, ...]
    reliability: tuple[Reliability, ...]
    problems: tuple[Problem, ...]

    def overall(self, variable: str) -> tuple[Score, ...]:
        """Return the overall scores of a variable, best first."""
        found = [one for one in self.scores if one.by == "overall" and one.variable == variable]
        return tuple(sorted(found, key=lambda one: one.crps))

    def skill_of(self, model: str, variable: str, reference: str, lead: int | None = None) -> Skill | None:
        """Return the skill of a model against a reference, or None."""
        key = (model, variable, reference, lead)
        return next((one for one in self.skill if (one.model, one.variable, one.reference, one.lead) == key), None)
