"""The `synthetic` source in a product file: simulated weather, its measurement errors and its faults."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from pipeline.config.base import Duration, Name, Strict
from pipeline.config.sources.base import SourceSpec
from pipeline.errors import InvalidValueError
from pipeline.units import check_units


def _parse_instant(text: object) -> object:
    if isinstance(text, datetime):
        return text
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        raise InvalidValueError(
            f"{str(text)[:80]!r} is not a date or time", "write e.g. 2020-01-01 or 2020-01-01T06:00Z"
        ) from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _check_seconds(span: timedelta) -> timedelta:
    if span < timedelta(seconds=1) or span % timedelta(seconds=1):
        raise InvalidValueError(
            f"{span.total_seconds():g} s is not a whole number of seconds", "write e.g. 30min, 6h, 1d"
        )
    return span


Instant = Annotated[
    datetime,
    BeforeValidator(_parse_instant),
    PlainSerializer(datetime.isoformat, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["2020-01-01", "2020-01-01T06:00Z"]}),
]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Span = Annotated[Duration, AfterValidator(_check_seconds)]


class Late(Strict):
    """Rows that are published late."""

    share: Share = 0.0
    """Fraction of rows that are late."""
    by: Span = timedelta(hours=6)
    """How much later than usual they are published."""


class Revised(Strict):
    """Rows that are first published with preliminary values and later corrected."""

    share: Share = 0.0
    """Fraction of rows that are revised."""
    by: Span = timedelta(days=1)
    """How long after the preliminary values the final ones are published."""
    scale: NotNegative = 0.5
    """Standard deviation of the preliminary error, relative to the spread of the variable."""


class Spikes(Strict):
    """Single values that are far off and never corrected."""

    share: Share = 0.0
    """Fraction of values affected."""
    scale: NotNegative = 10.0
    """How far off they are, up or down, relative to the spread of the variable."""


class Lasting(Strict):
    """A random fault that lasts. Time is divided into blocks, each affected with the same probability."""

    share: Share = 0.0
    """Fraction of blocks affected."""
    lasts: Span = timedelta(hours=12)
    """Length of a block, rounded up to whole time steps."""


class UnitChange(Strict):
    """A variable that is delivered in another unit without notice."""

    variable: Name
    """Name of the variable."""
    units: Annotated[str, AfterValidator(check_units)]
    """Unit in which it is delivered."""
    at: Instant
    """First valid_time affected."""
    until: Instant | None = None
    """Last valid_time affected; null for no end."""


class Outage(Strict):
    """A period whose observations are never delivered."""

    location: str = ""
    """Id of the station; empty for all stations."""
    since: Instant
    """First valid_time affected."""
    until: Instant
    """Last valid_time affected."""


class Faults(Strict):
    """Simulated faults, reproducible for a given seed. By default there are none."""

    missing: Share = 0.0
    """Fraction of values that are never delivered."""
    late: Late = Late()
    """Rows that are published late."""
    revised: Revised = Revised()
    """Rows that are first published with preliminary values and later corrected."""
    duplicated: Share = 0.0
    """Fraction of rows that occur twice in a payload."""
    spikes: Spikes = Spikes()
    """Single values that are far off."""
    stuck: Lasting = Lasting()
    """Sensors that repeat one value, independently by station and variable."""
    gap: Lasting = Lasting(lasts=timedelta(hours=6))
    """Random periods whose observations no station ever delivers."""
    outage: tuple[Outage, ...] = ()
    """Named periods whose observations are never delivered, for one station or all."""
    unit_change: tuple[UnitChange, ...] = ()
    """Variables that are delivered in another unit for a while, or for good."""

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        total = self.late.share + self.revised.share + self.duplicated
        if total > 1:
            problem = f"the fractions of late, revised and duplicated rows add up to {total:g}"
            raise InvalidValueError(problem, "a row can have only one of these faults, so write at most 1")
        return self


class FieldSpec(Strict):
    """A simulated variable of your own, in the unit in which it is delivered:
    ``mean + spread * tracer + diurnal * cos(2 pi (h - peak) / 24 h) + seasonal * cos(2 pi (d - 200) / 365.24)`` where h
    is local solar time and d the day of the year; the seasons are reversed south of the equator."""

    mean: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Mean over all times and locations."""
    spread: Positive = 1.0
    """Standard deviation of the random field that drifts with the wind."""
    diurnal: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Amplitude of the diurnal cycle."""
    peak: Annotated[float, Field(ge=0, lt=24)] = 15.0
    """Local solar hour of the diurnal maximum."""
    seasonal: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Amplitude of the annual cycle at the poles; it decreases towards the equator."""
    minimum: float | None = None
    """Lower limit of the values."""
    maximum: float | None = None
    """Upper limit of the values."""


class SyntheticSource(SourceSpec):
    """Simulated weather: smooth random fields, advected by a turning wind, with diffusion, damping and diurnal and
    annual cycles. The same seed gives the same weather at whatever locations and time steps it is observed."""

    kind: Literal["synthetic"]
    seed: Annotated[int, Field(ge=0)] = 0
    """Random seed of the simulated weather."""
    start: Instant = datetime(2020, 1, 1, tzinfo=UTC)
    """First valid_time; a date without a time means 00 UTC."""
    end: Instant | None = None
    """Last valid_time; null for no end."""
    chunk: Span = timedelta(days=1)
    """Range of publication times per payload. Rows that are late or revised by less may be in the same payload as rows
    that are on time."""
    speed: NotNegative = 8.0
    """Speed of the mean wind that advects the fields, m s-1."""
    direction: float = 250.0
    """Direction from which the mean wind blew on 1970-01-01, degrees clockwise from north."""
    turning: Duration = timedelta(days=10)
    """Period in which the mean wind turns through 360 degrees, clockwise; 0 for a steady wind."""
    length: Positive = 300.0
    """Correlation length of the fields, km."""
    memory: Span = timedelta(days=2)
    """Damping time: e-folding time of the correlation in the moving air, at all scales."""
    diffusivity: NotNegative = 1e5
    """Diffusivity, which damps small scales faster, m2 s-1."""
    modes: Annotated[int, Field(ge=8, le=4096)] = 128
    """Number of waves in a field."""
    centre: tuple[Annotated[float, Field(ge=-180, lt=360)], Annotated[float, Field(ge=-80, le=80)]] | None = None
    """Longitude and latitude of the centre of the map projection. Default: the centre of the locations. Set it so that
    several feeds observe the same weather."""
    noise: NotNegative = 0.1
    """Standard deviation of the random measurement error, relative to the spread of the variable."""
    bias: NotNegative = 0.1
    """Standard deviation across stations of the systematic error, relative to the spread of the variable."""
    decimals: Annotated[int, Field(ge=0, le=9)] = 3
    """Number of decimal places."""
    ahead: Duration = timedelta(0)
    """How long before its valid_time a value is published, for covariates known in advance."""
    published: bool = False
    """Include the publication time in each row, so that known_at of history loaded at once is exact. Covariates always
    include it."""
    fields: dict[Name, FieldSpec] = {}
    """Variables of your own, or replacements for built-in ones."""
    faults: Faults = Faults()
    """Simulated faults."""

    @model_validator(mode="after")
    def _check_end(self) -> Self:
        if self.end is not None and self.end < self.start:
            raise InvalidValueError(f"{self.end:%Y-%m-%dT%H:%MZ} is before start", "write a later time", field="end")
        return self
