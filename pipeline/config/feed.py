"""A feed: one source of observations, with its locations, variables, time step and publication delay."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, PrivateAttr, field_validator, model_validator

from expectations.variables import KNOWN, Transform, Variable
from pipeline.config.base import Duration, Name, Strict
from pipeline.config.quality import Quality, check_names
from pipeline.config.sources import AnySource, TimeStamps
from pipeline.config.steps import StepField
from pipeline.errors import InvalidValueError
from pipeline.steps import CalendarStep
from pipeline.units import check_units, convert, convertible

Limit = float | None


class VariableSpec(Strict):
    """An observed variable. Variables with a known CF standard name have default units, limits and transform."""

    units: Annotated[str, AfterValidator(check_units)] | None = None
    """Unit of the stored values, in UDUNITS spelling, e.g. m s-1. Default: the canonical unit of a known CF standard
    name."""
    source_units: Annotated[str, AfterValidator(check_units)] | None = None
    """Unit that the source delivers, if it differs from `units`."""
    source_name: str | None = None
    """What the source calls the variable, e.g. its column in a long table. Default: the variable's name."""
    limits: tuple[Limit, Limit] | None = None
    """Smallest and largest possible value, in `units`; null for no limit. Values outside are quarantined."""
    transform: Transform | None = None
    """Transformation that models apply: identity, sqrt (wind, irradiance) or log1p (counts, rain)."""

    @field_validator("limits")
    @classmethod
    def _check_limits(cls, limits: tuple[Limit, Limit] | None) -> tuple[Limit, Limit] | None:
        if limits and None not in limits and not limits[0] < limits[1]:  # type: ignore[operator]
            raise InvalidValueError(f"{list(limits)} is empty", "the first limit must be below the second")
        return limits


class VariableProperties(NamedTuple):
    """What a variable of a feed is stored and modelled as."""

    units: str
    limits: tuple[Limit, Limit]
    transform: Transform
    long_name: str


class Stations(Strict):
    """Stations at irregular locations, listed in a CSV file."""

    kind: Literal["stations"]
    path: Path
    """CSV file with one row per station: relative to the product file, or package:NAME/file."""
    id: str = "id"
    """Column with the station id that the observations use."""
    name: str = "name"
    """Column with the station name; without a column `name`, the id is the name."""
    longitude: str = "longitude"
    """Column with the longitude in degrees east, decimal or as in 8d15'W."""
    latitude: str = "latitude"
    """Column with the latitude in degrees north, decimal or as in 51d48'N."""
    static: tuple[str, ...] = ()
    """Columns with static numeric predictors for the models, e.g. altitude."""

    @field_validator("static")
    @classmethod
    def _check_static(cls, static: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(static)) < len(static) or "" in static:
            raise InvalidValueError(
                f"{list(static)} has a repeated or empty name", "list each column once, e.g. [altitude]"
            )
        return static


class Axis(Strict):
    """Evenly spaced coordinates of a grid."""

    start: float
    """First coordinate, degrees."""
    step: float
    """Grid spacing, degrees; negative if coordinates decrease."""
    count: Annotated[int, Field(ge=1, le=20_000)]
    """Number of coordinates."""

    @field_validator("step")
    @classmethod
    def _check_step(cls, step: float) -> float:
        if step == 0:
            raise InvalidValueError("the grid spacing cannot be 0", "write e.g. 0.25")
        return step


class Grid(Strict):
    """Cells of a regular latitude-longitude grid. The id of a cell is its row and column, as in ``r012c003``."""

    kind: Literal["grid"]
    longitude: Axis
    """Coordinates of the columns, degrees east."""
    latitude: Axis
    """Coordinates of the rows, degrees north."""


class Feed(Strict):
    """A source of observations, or of covariates."""

    source: AnySource
    """Where the data comes from and how it is read."""
    step: StepField
    """Time step of the observations: a duration, counted from 1970 in UTC, or a calendar step: week (from Monday),
    month or quarter, in UTC or in a zone, or a day in a zone, which has 23 to 25 hours when clocks change. Every time
    stamp within a calendar step means that step."""
    delay: Duration = timedelta(0)
    """Publication delay: time from valid_time until a value usually becomes available. Sets known_at of loaded
    history."""
    mode: Literal["live", "archive"] = "live"
    """live: observations keep arriving. archive: the data has ended, and the current time is assumed to be when the
    next value would be due."""
    locations: Annotated[Stations | Grid, Field(discriminator="kind")]
    """Where the observations are made: at stations, or in the cells of a grid."""
    lookback: Duration = timedelta(days=2)
    """How far back before the newest value each ingest requests data again, to pick up late and revised values. Only
    for sources that are requested by time range."""
    history: Duration | None = None
    """How far back the first ingest goes. Only for sources that are requested by time range. Default: as far as the
    source keeps data."""
    variables: dict[Name, VariableSpec]
    """Variables by name; use the CF standard name if there is one."""
    quality: Annotated[Quality, AfterValidator(check_names)] = Quality()
    """Quality checks of the observations."""
    attribution: str = ""
    """Data source and licence, shown with every forecast."""
    _product: str = PrivateAttr(default="")
    _name: str = PrivateAttr(default="")
    _folder: Path = PrivateAttr(default=Path())

    @property
    def product(self) -> str:
        """Name of the feed's product."""
        return self._product

    @property
    def name(self) -> str:
        """Name of the feed among the product's covariates; empty for the observations."""
        return self._name

    @property
    def is_covariate(self) -> bool:
        """Whether the feed is known in advance, such as a weather model."""
        return bool(self._name)

    @property
    def title(self) -> str:
        """Name of the feed in messages, e.g. ``ireland-wind`` or ``ireland-wind.nwp``."""
        return f"{self._product}.{self._name}" if self._name else self._product

    @property
    def folder(self) -> Path:
        """Folder of the product file; relative paths start there."""
        return self._folder

    def within(self, product: str, name: str, folder: Path) -> Feed:
        """Return a copy that belongs to a product whose file is in `folder`."""
        feed = self.model_copy()
        feed._product, feed._name, feed._folder = product, name, folder
        return feed

    @model_validator(mode="after")
    def _read_stamps_by_calendar(self) -> Self:
        """Return the feed with the defaults of time stamps for a calendar step: its zone, and the start of a period."""
        step, stamps = self.step, getattr(self.source, "time", None)
        if not isinstance(stamps, TimeStamps):
            return self
        if not stamps.names_days and not (isinstance(step, CalendarStep) and step.unit in ("month", "quarter")):
            raise InvalidValueError(
                f"{stamps.format!r} is not a strptime format with a date",
                "write e.g. '%d/%m/%Y %H:%M', or step: month",
                field="source.time.format",
            )
        if not isinstance(step, CalendarStep):
            return self
        if step.zone == "UTC" and stamps.zone != "UTC":
            raise InvalidValueError(
                f"'{step}' is counted in UTC, and the time stamps are in {stamps.zone}",
                f"write {step.unit} in {stamps.zone}",
                field="step",
            )
        defaults: dict[str, str] = {"zone": step.zone}
        if stamps.hours == "0-23" and not stamps.resample:
            defaults["label"] = "start"
        missing = {name: value for name, value in defaults.items() if name not in stamps.model_fields_set}
        if not missing:
            return self
        source = self.source.model_copy(update={"time": stamps.model_copy(update=missing)})
        return self.model_copy(update={"source": source})

    @field_validator("variables")
    @classmethod
    def _check_variables(cls, variables: dict[str, VariableSpec]) -> dict[str, VariableSpec]:
        if not variables:
            raise InvalidValueError("empty", "name at least one variable, e.g. wind_speed: {}")
        for name, spec in variables.items():
            if spec.units is None and name not in KNOWN:
                raise InvalidValueError(
                    f"'{name}' is not a known CF standard name and has no units",
                    f"add units, e.g. {name}: {{units: '1'}}",
                )
            canonical = KNOWN[name].units if name in KNOWN else None
            units = spec.units or canonical or "1"
            for other in (spec.source_units, canonical):
                if other is not None and not convertible(other, units):
                    raise InvalidValueError(
                        f"cannot convert '{name}' from {other} to {units}", "use units of the same dimension"
                    )
        return variables

    def variable(self, name: str) -> VariableProperties:
        """Return the properties of a variable: those in the product file, else the defaults."""
        spec, known = self.variables[name], KNOWN.get(name)
        return VariableProperties(
            spec.units or (known.units if known else "1"),
            spec.limits or (_default_limits(known, spec.units) if known else (None, None)),
            spec.transform or (known.transform if known else "identity"),
            known.long_name if known else name.replace("_", " ").capitalize(),
        )


def _default_limits(known: Variable, units: str | None) -> tuple[Limit, Limit]:
    """Return the default limits of a variable, converted to `units`."""
    if units in (None, known.units):
        return known.limits
    import numpy as np

    low, high = (
        None if limit is None else float(convert(np.array([limit]), known.units, units or known.units)[0])
        for limit in known.limits
    )
    return low, high
