"""What a feed demands of its rows beyond their limits, and what happens when a demand is not met."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from pipeline.config.base import Duration, Name, Strict

Severity = Literal["row", "batch", "warn"]
"""row: the row is refused; batch: the whole payload is; warn: it is stored and a warning is kept."""

_Share = Annotated[float, Field(ge=0, le=1)]
# What passes a validator that runs before the others counts as Python, where a strict tuple is no list.
_AsTuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
_OUR_PART = frozenset(
    {"id", "meta", "notes", "description", "severity", "result_format", "catch_exceptions", "batch_id", "windows"}
)
_CODE = frozenset({"row_condition", "condition_parser"})  # evaluated as Python by pandas
_COLUMNS = ("column", "column_A", "column_B", "column_list", "column_set")


class _Check(Strict):
    """A check that can be written as `off`, or as its severity alone."""

    severities: ClassVar[tuple[str, ...]]

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if given is True:  # how YAML reads on
            return {}
        if given is False:
            if "off" not in cls.severities:
                raise ValueError("this check cannot be off; write row or batch")
            return {"severity": "off"}
        return {"severity": given} if isinstance(given, str) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        told = handler.resolve_ref_schema(handler(schema))
        told["type"] = ["object", "string", "boolean"]
        return told


class RowRule(_Check):
    """A demand that no stored row may break."""

    severities: ClassVar = ("row", "batch")
    severity: Literal["row", "batch"] = "row"
    """row: the row is refused; batch: the whole payload is."""


class _RowCheck(_Check):
    severities: ClassVar = ("row", "batch", "warn", "off")
    severity: Literal["row", "batch", "warn", "off"] = "warn"
    """row: the row is refused; batch: the whole payload is; warn: a warning is kept; off."""
    variables: Annotated[tuple[Name, ...], _AsTuple] | None = None
    """The variables that it looks at. Default: all."""


class _BatchCheck(_Check):
    severities: ClassVar = ("batch", "warn", "off")
    severity: Literal["batch", "warn", "off"] = "warn"
    """batch: the whole payload is refused; warn: a warning is kept; off."""


class Stuck(_RowCheck):
    """The same value again and again."""

    model_config = ConfigDict(serialize_by_alias=True)  # what is written can be read

    after: Duration | None = None
    """For how long a value may stay. Default: 12 steps where neighbouring values are seldom equal, else a day, and
    two days where most are; never fewer than 12 steps."""
    natural: Annotated[tuple[float, ...], _AsTuple] | None = Field(default=None, alias="except")
    """Values that may stay for longer. Default: 0 where it is the lower limit and common, and 100 of a percentage."""


class Jump(_RowCheck):
    """A change from one step to the next that is more than can be; written as in ``jump: {wind_speed: 20}``."""

    at_most: dict[Name, Annotated[float, Field(gt=0)]] = {}
    """Largest change per step by variable, in its unit. A variable that is not named may change by any amount."""

    @model_validator(mode="before")
    @classmethod
    def _limits(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        bare = {
            name: value
            for name, value in given.items()
            if name not in cls.model_fields and isinstance(value, int | float) and not isinstance(value, bool)
        }
        rest = {name: value for name, value in given.items() if name not in bare}
        return {**rest, "at_most": {**rest.get("at_most", {}), **bare}} if bare else rest

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        told = super().__get_pydantic_json_schema__(schema, handler)
        told["additionalProperties"] = {"type": "number", "exclusiveMinimum": 0}
        return told


class Buddy(_RowCheck):
    """A value that the nearest stations do not bear out; not for grids."""

    neighbours: Annotated[int, Field(ge=3, le=20)] = 5
    """How many of the nearest stations are asked."""
    within_km: Annotated[float, Field(gt=0)] = 500.0
    """How far away they may be."""
    sigmas: Annotated[float, Field(gt=0)] = 6.0
    """How many robust standard deviations the difference from them may depart from the usual one."""
    floor: Annotated[float, Field(ge=0)] = 0.0
    """Smallest standard deviation, on the variable's transform."""


class UnitChangeRule(_BatchCheck):
    """Values that agree with the recent ones only after a change of unit."""

    severity: Literal["batch", "warn", "off"] = "batch"
    """batch: the whole payload is refused; warn: a warning is kept; off."""
    at_most: _Share = 0.5
    """Share of the locations that may speak for one change."""


class DriftRule(_BatchCheck):
    """Values that are spread otherwise than in the last weeks."""

    at_most: _Share = 0.35
    """Largest distance of the distributions, 0 alike to 1 apart; what chance allows is allowed anyway."""


class Completeness(_BatchCheck):
    """How many of the rows are there that the step lets expect from the first to the last time of a payload."""

    at_least: _Share = 0.5
    """Share of the times of the locations that the payload tells of."""


class Order(_BatchCheck):
    """Times that go back from row to row of a location: labels that wrap, or a zone that changes."""

    at_most: _Share = 0.02
    """Share of the steps from row to row that may lead back; a payload that runs backwards is in order."""


class Freshness(_BatchCheck):
    """How late the newest value of a live feed is."""

    within: Duration | None = None
    """How long after it is due, by the delay, the newest value may be missing. Default: three steps."""


class Checks(Strict):
    """The checks by name. One that is not named runs as its defaults say."""

    limits: RowRule = RowRule()
    """Each value is finite and within the limits of its variable."""
    location: RowRule = RowRule()
    """Each location is one of the feed."""
    grid: RowRule = RowRule()
    """Each time is a multiple of the step."""
    past: RowRule = RowRule()
    """No time is before `oldest`."""
    future: RowRule = RowRule()
    """No time is further than `ahead` after now."""
    known: RowRule = RowRule()
    """Where rows say when they became known, that can be meant."""
    unique: RowRule = RowRule()
    """No two rows of a payload contradict each other."""
    stuck: Stuck = Stuck()
    jump: Jump = Jump()
    buddy: Buddy = Buddy()
    unit_change: UnitChangeRule = UnitChangeRule()
    drift: DriftRule = DriftRule()
    completeness: Completeness = Completeness()
    order: Order = Order()
    freshness: Freshness = Freshness()


class Expectation(Strict):
    """An expectation of Great Expectations that every payload must meet."""

    type: str
    """Its name, e.g. expect_column_mean_to_be_between."""
    kwargs: dict[str, Any] = {}
    """Its arguments; columns are valid_time, location, known_at and the variables."""
    severity: Severity = "warn"
    """row: the rows that break it are refused, if it judges rows; batch: the payload is; warn: a warning is kept."""

    @field_validator("type")
    @classmethod
    def _snake(cls, name: str) -> str:
        if not re.fullmatch(r"expect_[a-z_]{3,80}", name):
            raise ValueError(f"'{name[:80]}' is no expectation; write e.g. expect_column_mean_to_be_between")
        return name

    @field_validator("kwargs")
    @classmethod
    def _ours(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        for name in kwargs:
            if name in _CODE:
                raise ValueError(f"'{name}' would run code; leave it out")
            if name in _OUR_PART:
                raise ValueError(f"'{name}' is set by Nightcast; leave it out")
        return kwargs

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names."""
        named: list[str] = []
        for part in _COLUMNS:
            value = self.kwargs.get(part, [])
            named += [value] if isinstance(value, str) else [each for each in value if isinstance(each, str)]
        return tuple(named)


class Quality(Strict):
    """What is demanded of the rows of a feed before they are stored."""

    oldest: date = date(1850, 1, 1)
    """A row from before this day is refused."""
    ahead: Duration | None = None
    """How far after now a time may lie. Default: one step, clocks differ; for covariates 400 days."""
    memory: Duration = timedelta(days=28)
    """How much of what is stored from before a payload it is compared with."""
    checks: Checks = Checks()
    """What is checked, and how severely."""
    expectations: tuple[Expectation, ...] = ()
    """Further expectations, any that Great Expectations has."""

    def by_row(self) -> Quality:
        """Return the same demands, of which none refuses a payload as a whole: it refuses the row, or warns."""

        def milder(check: Any) -> Any:
            instead = "row" if isinstance(check, RowRule) else "warn"
            return check.model_copy(update={"severity": instead}) if check.severity == "batch" else check

        checks = {name: milder(getattr(self.checks, name)) for name in Checks.model_fields}
        return self.model_copy(
            update={
                "checks": self.checks.model_copy(update=checks),
                "expectations": tuple(milder(one) for one in self.expectations),
            }
        )


def fits_feed(quality: Quality, info: ValidationInfo) -> Quality:
    """Return the quality of a feed when it speaks of the variables that the feed has.

    Raises:
        ValueError: it names another one.
    """
    variables = info.data.get("variables")
    if variables is None:  # they have a mistake of their own
        return quality
    checks = quality.checks
    named = [("checks.jump", name) for name in checks.jump.at_most]
    for part, check in (("stuck", checks.stuck), ("jump", checks.jump), ("buddy", checks.buddy)):
        named += [(f"checks.{part}.variables", name) for name in check.variables or ()]
    for place, name in named:
        if name not in variables:
            raise ValueError(f"{place} names '{name}', which the feed does not have; it has {', '.join(variables)}")
    columns = ("valid_time", "location", "known_at", *variables)
    for number, expectation in enumerate(quality.expectations):
        for name in expectation.columns:
            if name not in columns:
                raise ValueError(f"expectations.{number} names the column '{name}'; rows have {', '.join(columns)}")
    return quality
