"""Quality checks of a feed's observations, and what happens to rows that fail them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from pipeline.config.base import Duration, Name, Strict
from pipeline.errors import InvalidValueError

Severity = Literal["row", "batch", "warn"]
"""row: the row is refused; batch: the whole payload is refused; warn: it is stored and a warning is kept."""

_Share = Annotated[float, Field(ge=0, le=1)]
# After a model validator in mode "before", pydantic validates Python input, where a strict tuple rejects a list.
_AsTuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
_RESERVED = frozenset(
    {"id", "meta", "notes", "description", "severity", "result_format", "catch_exceptions", "batch_id", "windows"}
)
_CODE = frozenset({"row_condition", "condition_parser"})  # evaluated as Python by pandas
_COLUMNS = ("column", "column_A", "column_B", "column_list", "column_set")


class _Check(Strict):
    """A check that can be shortened to `off`, `on` or its severity."""

    severities: ClassVar[tuple[str, ...]]

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, given: Any) -> Any:
        if given is True:  # YAML reads `on` as true
            return {}
        if given is False:
            if "off" not in cls.severities:
                raise InvalidValueError("this check cannot be switched off", "write row or batch")
            return {"severity": "off"}
        return {"severity": given} if isinstance(given, str) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        resolved = handler.resolve_ref_schema(super().__get_pydantic_json_schema__(schema, handler))
        resolved["type"] = ["object", "string", "boolean"]
        return resolved


class RowRule(_Check):
    """A check that every stored row has passed; it cannot be switched off."""

    severities: ClassVar = ("row", "batch")
    severity: Literal["row", "batch"] = "row"
    """row: the row is refused; batch: the whole payload is refused."""


class _RowCheck(_Check):
    severities: ClassVar = ("row", "batch", "warn", "off")
    severity: Literal["row", "batch", "warn", "off"] = "warn"
    """row: the row is refused; batch: the whole payload is refused; warn: a warning is kept; off: no check."""
    variables: Annotated[tuple[Name, ...], _AsTuple] | None = None
    """Variables to check. Default: all."""


class _BatchCheck(_Check):
    severities: ClassVar = ("batch", "warn", "off")
    severity: Literal["batch", "warn", "off"] = "warn"
    """batch: the whole payload is refused; warn: a warning is kept; off: no check."""


class PersistenceTest(_RowCheck):
    """Persistence test: a value that stays the same for too long, as from a stuck sensor."""

    after: Duration | None = None
    """How long a value may stay the same. Default: 12 time steps if successive values are rarely equal, a day if they
    often are, two days if most are; never less than 12 time steps."""
    natural: Annotated[tuple[float, ...], _AsTuple] | None = Field(default=None, alias="except")
    """Values that may stay the same for longer. Default: 0 where it is the lower limit and common, and 100 for
    percentages."""


class StepTest(_RowCheck):
    """Step test: an implausibly large change from one time step to the next, e.g. ``step: {wind_speed: 20}``."""

    at_most: dict[Name, Annotated[float, Field(gt=0)]] = {}
    """Largest change per time step by variable, in its unit. Variables that are not listed are not checked."""

    @model_validator(mode="before")
    @classmethod
    def _collect_limits(cls, given: Any) -> Any:
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
        resolved = super().__get_pydantic_json_schema__(schema, handler)
        resolved["additionalProperties"] = {"type": "number", "exclusiveMinimum": 0}
        return resolved


class BuddyCheck(_RowCheck):
    """Buddy check: a value that disagrees with the nearest stations. Not applied to grids."""

    neighbours: Annotated[int, Field(ge=3, le=20)] = 5
    """Number of nearest stations to compare with."""
    within_km: Annotated[float, Field(gt=0)] = 500.0
    """Largest distance of a station to compare with, km."""
    sigmas: Annotated[float, Field(gt=0)] = 6.0
    """Largest departure of the difference from its usual value, in robust standard deviations."""
    floor: Annotated[float, Field(ge=0)] = 0.0
    """Lower bound of the standard deviation, on the transformed scale of the variable."""


class UnitChangeCheck(_BatchCheck):
    """A payload whose values agree with recent ones only after a change of unit."""

    severity: Literal["batch", "warn", "off"] = "batch"
    """batch: the whole payload is refused; warn: a warning is kept; off: no check."""
    at_most: _Share = 0.5
    """Largest allowed fraction of locations that agree on the same change of unit."""


class DriftCheck(_BatchCheck):
    """Drift: a payload whose values are distributed differently from those of recent weeks."""

    at_most: _Share = 0.35
    """Largest Kolmogorov-Smirnov distance between the distributions, 0 (equal) to 1 (disjoint). Distances within
    sampling error always pass."""


class CompletenessCheck(_BatchCheck):
    """Completeness: how many of the rows expected between the first and last time of a payload are present."""

    at_least: _Share = 0.5
    """Smallest allowed fraction of the expected rows of the locations in the payload."""


class OrderCheck(_BatchCheck):
    """Times that step back between rows of a location, as when labels wrap or the time zone changes."""

    at_most: _Share = 0.02
    """Largest allowed fraction of backward steps. A payload in descending order passes."""


class FreshnessCheck(_BatchCheck):
    """Freshness: how late the newest value of a live feed is."""

    within: Duration | None = None
    """How long the newest value may be overdue, counting from the feed's delay. Default: three time steps."""


class Checks(Strict):
    """Quality checks by name. Checks that are not listed run with their defaults."""

    limits: RowRule = RowRule()
    """Range check: each value is finite and within the limits of its variable."""
    location: RowRule = RowRule()
    """Each location belongs to the feed."""
    time_step: RowRule = RowRule()
    """Each valid_time is a multiple of the time step."""
    past: RowRule = RowRule()
    """No valid_time is before `oldest`."""
    future: RowRule = RowRule()
    """No valid_time is later than `ahead` from now."""
    known_at: RowRule = RowRule()
    """Each known_at that the source supplies is plausible."""
    unique: RowRule = RowRule()
    """No two rows of a payload contradict each other."""
    persistence: PersistenceTest = PersistenceTest()
    """No value stays the same for too long."""
    step: StepTest = StepTest()
    """No value changes too much from one time step to the next."""
    buddy: BuddyCheck = BuddyCheck()
    """Each value agrees with the nearest stations."""
    unit_change: UnitChangeCheck = UnitChangeCheck()
    """The values of a payload do not look as if their unit had changed."""
    drift: DriftCheck = DriftCheck()
    """The values of a payload are distributed like those of recent weeks."""
    completeness: CompletenessCheck = CompletenessCheck()
    """Enough of the expected rows of a payload are present."""
    order: OrderCheck = OrderCheck()
    """Times within a payload are in order."""
    freshness: FreshnessCheck = FreshnessCheck()
    """The newest value of a live feed is not overdue."""


class Expectation(Strict):
    """An expectation of Great Expectations that every payload must meet."""

    type: str
    """Name of the expectation, e.g. expect_column_mean_to_be_between."""
    kwargs: dict[str, Any] = {}
    """Arguments of the expectation. The columns are valid_time, location, known_at and the variables."""
    severity: Severity = "warn"
    """row: rows that fail are refused, if the expectation is evaluated per row; batch: the whole payload is refused;
    warn: a warning is kept."""

    @field_validator("type")
    @classmethod
    def _check_type(cls, name: str) -> str:
        if not re.fullmatch(r"expect_[a-z_]{3,80}", name):
            raise InvalidValueError(
                f"'{name[:80]}' is not the name of an expectation", "write e.g. expect_column_mean_to_be_between"
            )
        return name

    @field_validator("kwargs")
    @classmethod
    def _check_kwargs(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        for name in kwargs:
            if name in _CODE:
                raise InvalidValueError(f"'{name}' would run code", "leave it out")
            if name in _RESERVED:
                raise InvalidValueError(f"'{name}' is set by Nightcast", "leave it out")
        return kwargs

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the arguments name."""
        named: list[str] = []
        for part in _COLUMNS:
            value = self.kwargs.get(part, [])
            named += [value] if isinstance(value, str) else [each for each in value if isinstance(each, str)]
        return tuple(named)


class Quality(Strict):
    """Quality checks that rows pass before they are stored."""

    oldest: date = date(1850, 1, 1)
    """Earliest valid_time; earlier rows are refused."""
    ahead: Duration | None = None
    """How far valid_time may lie in the future. Default: one time step, to allow for clock differences; 400 days for
    covariates."""
    reference_period: Duration = timedelta(days=28)
    """Length of the stored history before a payload with which it is compared."""
    checks: Checks = Checks()
    """Quality checks and their severities."""
    expectations: tuple[Expectation, ...] = ()
    """Further checks: any expectations of Great Expectations."""

    def by_row(self) -> Quality:
        """Return the same checks without severity batch: row instead where a check is per row, else warn."""

        def soften(check: Any) -> Any:
            instead = "row" if isinstance(check, RowRule) else "warn"
            return check.model_copy(update={"severity": instead}) if check.severity == "batch" else check

        checks = {name: soften(getattr(self.checks, name)) for name in Checks.model_fields}
        return self.model_copy(
            update={
                "checks": self.checks.model_copy(update=checks),
                "expectations": tuple(soften(one) for one in self.expectations),
            }
        )


def check_names(quality: Quality, info: ValidationInfo) -> Quality:
    """Return the quality checks of a feed if the feed has all variables and columns that they name.

    Raises:
        InvalidValueError: they name a variable or column that the feed does not have.
    """
    variables = info.data.get("variables")
    if variables is None:  # the variables are invalid, which is reported separately
        return quality
    checks = quality.checks
    named = [("checks.step", name) for name in checks.step.at_most]
    for part, check in (("persistence", checks.persistence), ("step", checks.step), ("buddy", checks.buddy)):
        named += [(f"checks.{part}.variables", name) for name in check.variables or ()]
    for where, name in named:
        if name not in variables:
            problem = f"{where} names '{name}', which is not in feed.variables"
            raise InvalidValueError(problem, f"known: {', '.join(variables)}")
    columns = ("valid_time", "location", "known_at", *variables)
    for number, expectation in enumerate(quality.expectations):
        for name in expectation.columns:
            if name not in columns:
                problem = f"expectations.{number} names '{name}', which is not a column"
                raise InvalidValueError(problem, f"known: {', '.join(columns)}")
    return quality
