"""The `synthetic` source in a product file: a made-up world, and what goes wrong in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from pipeline.config.base import Duration, Name, Strict
from pipeline.config.sources.base import SourceSpec
from pipeline.units import check_units


def _instant(text: object) -> object:
    if isinstance(text, datetime):
        return text
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"{str(text)[:80]!r} is no instant; write e.g. 2020-01-01 or 2020-01-01T06:00Z") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _spans(span: timedelta) -> timedelta:
    if span < timedelta(seconds=1) or span % timedelta(seconds=1):
        raise ValueError(f"{span.total_seconds():g} s is no whole number of seconds; use e.g. 30min, 6h, 1d")
    return span


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(datetime.isoformat, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["2020-01-01", "2020-01-01T06:00Z"]}),
]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Span = Annotated[Duration, AfterValidator(_spans)]


class Late(Strict):
    """Rows that come after their time."""

    share: Share = 0.0
    """Share of rows that are late."""
    by: Span = timedelta(hours=6)
    """How much later than usual they are published."""


class Revised(Strict):
    """Rows that come with preliminary values and again, later, with the true ones."""

    share: Share = 0.0
    """Share of rows that are revised."""
    by: Span = timedelta(days=1)
    """How long after the first values the true ones are published."""
    scale: NotNegative = 0.5
    """Standard deviation of the first error, in spreads of the variable."""


class Spikes(Strict):
    """Single values that are far off and are never corrected."""

    share: Share = 0.0
    """Share of values hit."""
    scale: NotNegative = 10.0
    """How far off, up or down, in spreads of the variable."""


class Lasting(Strict):
    """Something that happens by chance and lasts. Time is cut into blocks; each is hit with the same chance."""

    share: Share = 0.0
    """Share of blocks hit."""
    lasts: Span = timedelta(hours=12)
    """Length of a block, rounded up to whole steps."""


class UnitChange(Strict):
    """A variable that is delivered in another unit, and nobody says so."""

    variable: Name
    """Which one."""
    units: Annotated[str, AfterValidator(check_units)]
    """In which unit it comes."""
    at: Instant
    """First valid_time concerned."""
    until: Instant | None = None
    """Last one; null for ever after."""


class Outage(Strict):
    """A time from which nothing comes, then or later."""

    location: str = ""
    """Which station; empty for all."""
    since: Instant
    """First valid_time concerned."""
    until: Instant
    """Last one."""


class Faults(Strict):
    """What goes wrong, by chance but the same for the same seed. By default: nothing."""

    missing: Share = 0.0
    """Share of values that never come."""
    late: Late = Late()
    revised: Revised = Revised()
    duplicated: Share = 0.0
    """Share of rows that come twice in one payload."""
    spikes: Spikes = Spikes()
    stuck: Lasting = Lasting()
    """Sensors that repeat one value, by station and variable."""
    gap: Lasting = Lasting(lasts=timedelta(hours=6))
    """Times from which no station ever delivers."""
    outage: tuple[Outage, ...] = ()
    """Times from which nothing comes, of one station or all, as named."""
    unit_change: tuple[UnitChange, ...] = ()
    """Variables that come in another unit for a while, or from then on."""

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        total = self.late.share + self.revised.share + self.duplicated
        if total > 1:
            raise ValueError(f"late, revised and duplicated rows are {total:g} of all; a row has one of these fates")
        return self


class Recipe(Strict):
    """A variable that the world does not know, in the unit in which it is delivered:
    ``mean + spread * tracer + diurnal * cos(2 pi (h - peak) / 24 h) + seasonal * cos(2 pi (d - 200) / 365.24)`` with h
    the local solar time and d the day of the year, mirrored south of the equator."""

    mean: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Mean over all times and places."""
    spread: Positive = 1.0
    """Standard deviation of the part that drifts with the wind."""
    diurnal: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Amplitude of the daily cycle."""
    peak: Annotated[float, Field(ge=0, lt=24)] = 15.0
    """Local solar hour of its maximum."""
    seasonal: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Amplitude of the yearly cycle, at the poles; it fades towards the equator."""
    minimum: float | None = None
    """No value is below."""
    maximum: float | None = None
    """No value is above."""


class SyntheticSource(SourceSpec):
    """A made-up world: smooth fields that drift with a turning wind, spread out and renew themselves, under a sun that
    rises and sets. The same seed gives the same world, at whatever places and steps it is observed."""

    kind: Literal["synthetic"]
    seed: Annotated[int, Field(ge=0)] = 0
    """Names the world."""
    start: Instant = datetime(2020, 1, 1, tzinfo=UTC)
    """First valid_time; a date alone is its midnight in UTC."""
    end: Instant | None = None
    """Last valid_time; null for a world that goes on."""
    chunk: Span = timedelta(days=1)
    """Time covered by one payload, by publication. What is late or revised by less may share a payload with what is
    in time."""
    speed: NotNegative = 8.0
    """Mean wind that carries the fields, m s-1."""
    direction: float = 250.0
    """Where that wind blew from on 1970-01-01, degrees clockwise from north."""
    turning: Duration = timedelta(days=10)
    """Time in which it turns once around, clockwise; 0 for a steady wind."""
    length: Positive = 300.0
    """Distance over which fields vary, km."""
    memory: Span = timedelta(days=2)
    """Time in which what drifts along is forgotten to 1/e, whatever its size."""
    diffusivity: NotNegative = 1e5
    """How fast small structures spread out, m2 s-1."""
    modes: Annotated[int, Field(ge=8, le=4096)] = 128
    """Waves that make up a field."""
    centre: tuple[Annotated[float, Field(ge=-180, lt=360)], Annotated[float, Field(ge=-80, le=80)]] | None = None
    """Longitude and latitude where the map plane touches the globe. Default: the middle of the locations; name it to
    see one world through several feeds."""
    noise: NotNegative = 0.1
    """Standard deviation of the measurement error, in spreads of the variable."""
    bias: NotNegative = 0.1
    """Standard deviation over stations of a constant error, in spreads of the variable."""
    decimals: Annotated[int, Field(ge=0, le=9)] = 3
    """Digits kept after the point."""
    ahead: Duration = timedelta(0)
    """How long before its valid_time a value is known, for a feed of covariates known in advance."""
    published: bool = False
    """Whether rows say when they were published, so that history which is loaded at once counts as known since then.
    Rows of covariates always do."""
    fields: dict[Name, Recipe] = {}
    """Variables that the world does not know, or is to show otherwise."""
    faults: Faults = Faults()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end is not None and self.end < self.start:
            raise ValueError(f"end: {self.end:%Y-%m-%dT%H:%MZ} is before start; give a later one")
        return self
