"""What the page of a backtest shows, as plain frozen objects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.steps import Step


@dataclass(frozen=True, kw_only=True)
class SkillInterval:
    """Skill against one reference, in 0..1; bounds are NaN where there is no interval."""

    skill: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0; False without one."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True)
class BacktestedModel:
    """The scores of one model, in the units of the variable.

    Attributes:
        name: Name of the model.
        crps: Mean CRPS.
        mae: Mean absolute error of the median.
        rmse: Root mean square error of the median.
        bias: Mean of median minus truth.
        coverage: Share in 0..1 of truths inside each interval, the widest first.
        skill: Skill by reference; none against itself.
        crps_by_lead: One value per lead.
        crps_by_hour: By hour of the day in UTC; empty if there is only one hour.
        crps_by_season: By name of the season, such as "DJF".
        crps_by_location: By name of the location.
        frequencies: Share of truths not above the quantile of each level.
        pit: Densities between the levels and 0 and 1.
    """

    name: str
    crps: float
    mae: float
    rmse: float
    bias: float
    coverage: tuple[float, ...]
    skill: dict[str, SkillInterval]
    crps_by_lead: tuple[float, ...]
    crps_by_hour: dict[int, float]
    crps_by_season: dict[str, float]
    crps_by_location: dict[str, float]
    frequencies: tuple[float, ...]
    pit: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class BacktestedVariable:
    """One variable: its models, best first, and the references of their skill.

    Attributes:
        title: Name in words, such as "Wind speed".
        units: UDUNITS text, such as "m s-1".
        count: Number of forecast values that every model has.
        models: Every scored model, the lowest CRPS first.
        references: Names of the models that skill is relative to, the best baseline first.
    """

    title: str
    units: str
    count: int
    models: tuple[BacktestedModel, ...]
    references: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BacktestPage:
    """Everything on the page of one backtest.

    Attributes:
        product: Key of the product.
        title: Its name for readers.
        since: First origin.
        until: Last issue time.
        verified_at: The observations are as known at this instant.
        every: Time from one training to the next.
        origins: Number of trainings.
        issues: Number of issue times.
        block: Issue times in a block of the bootstrap.
        confidence: Of the intervals of skill, in 0..1.
        step: One time step.
        levels: Quantile levels.
        nominal: Nominal coverage of each interval, the widest first.
        variables: Each is a section of the page.
        problems: Sentences on what went wrong.
        licence: Provenance and licence of the data, as plain text.
        code_version: Commit or build that made the forecasts.
    """

    product: str
    title: str
    since: datetime
    until: datetime
    verified_at: datetime
    every: timedelta
    origins: int
    issues: int
    block: int
    confidence: float
    step: Step
    levels: tuple[float, ...]
    nominal: tuple[float, ...]
    variables: tuple[BacktestedVariable, ...]
    problems: tuple[str, ...] = ()
    licence: str = ""
    code_version: str = ""
