"""A product: what is forecast, from which feed, when, how it is trained and judged, where it goes. One YAML file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, PrivateAttr, field_validator, model_validator

from expectations.variables import KNOWN, Transform, Variable
from pipeline.config.base import Duration, Strict
from pipeline.config.source import FilesSource
from pipeline.names import check_name, check_zone
from pipeline.units import check_units, convert, convertible


def _cron(text: str) -> str:
    try:
        if len(text.split()) != 5:
            raise CronSimError("Wrong number of fields")
        CronSim(text, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"{text!r} is no cron line, {error}; five fields, e.g. '0 6 * * *'") from None
    return text


Cron = Annotated[str, AfterValidator(_cron)]
Zone = Annotated[str, AfterValidator(check_zone)]
Name = Annotated[str, AfterValidator(check_name)]
Limit = float | None


class VariableSpec(Strict):
    """One observed variable of a feed. CF names bring their own units, limits and transform."""

    units: Annotated[str, AfterValidator(check_units)] | None = None
    """Unit kept in the stores, UDUNITS spelling, e.g. m s-1. Default: the canonical one of a known CF name."""
    source_units: Annotated[str, AfterValidator(check_units)] | None = None
    """Unit the source delivers, when it differs from `units`."""
    source_name: str | None = None
    """Column that carries the variable in a long payload. Default: its own name."""
    limits: tuple[Limit, Limit] | None = None
    """Smallest and largest value that can be meant, in `units`; values outside go to quarantine."""
    transform: Transform | None = None
    """Scale on which models work: identity, sqrt (wind, irradiance) or log1p (counts, rain)."""

    @field_validator("limits")
    @classmethod
    def _ordered(cls, limits: tuple[Limit, Limit] | None) -> tuple[Limit, Limit] | None:
        if limits and None not in limits and not limits[0] < limits[1]:  # type: ignore[operator]
            raise ValueError(f"{list(limits)} is empty; the first limit must be below the second")
        return limits


class Stations(Strict):
    """Scattered points, listed in a CSV file beside the product file."""

    kind: Literal["stations"]
    path: Path
    """CSV file, one row a station; relative to the product file, or package:NAME/file."""
    id: str = "id"
    """Column with the id that observations use."""
    name: str = "name"
    """Column with the name people use."""
    longitude: str = "longitude"
    """Column, degrees east, decimal or as in 8d15'W."""
    latitude: str = "latitude"
    """Column, degrees north, decimal or as in 51d48'N."""


class Feed(Strict):
    """One source of observations."""

    source: FilesSource
    """Where payloads come from and how they are read."""
    step: Duration
    """Cadence of the observations."""
    delay: Duration = timedelta(0)
    """From a value's valid_time until it is usually known here; sets known_at of loaded history."""
    clock: Literal["wall", "record"] = "wall"
    """wall: the feed is live. record: an archive that has ended; 'now' is when its next value would be due."""
    locations: Stations
    variables: dict[Name, VariableSpec]
    """Observed variables by CF standard name where there is one."""
    attribution: str = ""
    """Provenance and licence line shown with every forecast."""

    @field_validator("step")
    @classmethod
    def _divides(cls, step: timedelta) -> timedelta:
        day = timedelta(days=1)
        if not step or step % timedelta(seconds=1) or (day % step and step % day):
            raise ValueError("does not divide a day into whole seconds; use e.g. 10min, 1h, 6h, 1d")
        return step

    @field_validator("variables")
    @classmethod
    def _complete(cls, variables: dict[str, VariableSpec]) -> dict[str, VariableSpec]:
        if not variables:
            raise ValueError("no variable; name at least one, e.g. wind_speed: {}")
        for name, spec in variables.items():
            if spec.units is None and name not in KNOWN:
                raise ValueError(
                    f"'{name}' is no known CF name and has no units; add units, e.g. {name}: {{units: '1'}}"
                )
            canonical = KNOWN[name].units if name in KNOWN else None
            units = spec.units or canonical or "1"
            for other in (spec.source_units, canonical):
                if other is not None and not convertible(other, units):
                    raise ValueError(f"'{name}' cannot be had in '{units}' from '{other}'; use units of one kind")
        return variables

    def variable(self, name: str) -> tuple[str, tuple[Limit, Limit], Transform, str]:
        """Return (units, limits, transform, long name) of a variable, the product's word over the known defaults."""
        spec, known = self.variables[name], KNOWN.get(name)
        return (
            spec.units or (known.units if known else "1"),
            spec.limits or (_converted(known, spec.units) if known else (None, None)),
            spec.transform or (known.transform if known else "identity"),
            known.long_name if known else name.replace("_", " ").capitalize(),
        )


def _converted(known: Variable, units: str | None) -> tuple[Limit, Limit]:
    """The limits of a known variable in the unit that the product keeps it in."""
    if units in (None, known.units):
        return known.limits
    low, high = (
        None if limit is None else float(convert(np.array([limit]), known.units, units or known.units)[0])
        for limit in known.limits
    )
    return low, high


class Forecast(Strict):
    """What is forecast at every issue time."""

    targets: tuple[Name, ...]
    """Variables to forecast, from feed.variables."""
    context: Annotated[int, Field(ge=1, le=10_000)] = 14
    """Frames a model sees."""
    horizon: Annotated[int, Field(ge=1, le=1_000)] = 3
    """Steps forecast after the issue time."""
    quantiles: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    """Quantile levels published; ascending, with 0.5."""

    @field_validator("quantiles")
    @classmethod
    def _levels(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if list(levels) != sorted(set(levels)) or not levels or levels[0] <= 0 or levels[-1] >= 1 or 0.5 not in levels:
            raise ValueError(f"{list(levels)} are no quantile levels; ascending, inside (0, 1), with 0.5")
        return levels


class Training(Strict):
    """How challengers are made."""

    candidates: tuple[str, ...] = ("attention-convlstm", "ridge-var")
    """Models trained each time; the best on validation becomes the challenger."""
    options: dict[str, dict[str, float | int | bool | str]] = {}
    """Constructor options by candidate."""
    window: Duration = timedelta(days=3652, hours=12)
    """History used, back from the held-out issue times."""
    validation: Annotated[int, Field(ge=20)] = 365
    """Issue times before the held-out ones, for early stopping and the choice among candidates."""
    budget: Duration = timedelta(minutes=10)
    """Wall-clock limit per candidate."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of everything random in a training run."""


class Gate(Strict):
    """What a challenger must show before it serves."""

    metric: Literal["crps"] = "crps"
    """Score that decides: the continuous ranked probability score."""
    issues: Annotated[int, Field(ge=20)] = 180
    """Held-out issue times, the latest before the retrain, on which all are scored."""
    against: tuple[Literal["champion", "baselines"], ...] = ("champion", "baselines")
    """Rivals the challenger must beat."""
    significance: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Level of the one-sided Diebold-Mariano test."""
    coverage_tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """How far the coverage of the widest interval may be from its nominal value, as a fraction."""


class Schedule(Strict):
    """When each job runs. Forecast issue times are exactly the instants of the forecast line."""

    ingest: Cron = "*/15 * * * *"
    """Fetch, validate and store what is new."""
    forecast: Cron = "5 * * * *"
    """Issue times."""
    retrain: Cron = "0 2 * * *"
    """Train challengers and run the gate."""
    verify: Cron = "30 * * * *"
    """Score matured forecasts."""
    time_zone: Zone = "UTC"
    """Time zone of the cron lines."""


class Output(Strict):
    """One published form of every forecast."""

    kind: Literal["parquet", "netcdf", "report"]
    """parquet: tidy rows. netcdf: CF-1.11. report: one self-contained HTML page."""


class Product(Strict):
    """A product file."""

    name: Name
    """Lower case, digits and dashes; names the registered model and every store."""
    title: str = ""
    """What people call it. Default: the name."""
    feed: Feed
    forecast: Forecast
    training: Training = Training()
    gate: Gate = Gate()
    schedule: Schedule = Schedule()
    publish: tuple[Output, ...] = (Output(kind="parquet"), Output(kind="netcdf"), Output(kind="report"))
    """Forms in which forecasts are published."""
    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """Folder of the product file, where its relative paths start."""
        return self._folder

    def within(self, folder: Path) -> Self:
        """Return the product with its relative paths starting at `folder`."""
        product = self.model_copy()
        product._folder = folder
        return product

    @model_validator(mode="after")
    def _targets_exist(self) -> Self:
        for target in self.forecast.targets:
            if target not in self.feed.variables:
                known = ", ".join(self.feed.variables)
                raise ValueError(f"forecast.targets: '{target}' is not in feed.variables; known: {known}")
        if not self.forecast.targets:
            raise ValueError("forecast.targets: empty; name at least one of feed.variables")
        return self
