"""A feed: one source of observations, its locations, variables, step and publication delay."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, PrivateAttr, field_validator

from expectations.variables import KNOWN, Transform, Variable
from pipeline.config.base import Duration, Name, Strict
from pipeline.config.quality import Quality, fits_feed
from pipeline.config.sources import AnySource
from pipeline.units import check_units, convert, convertible

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
    static: tuple[str, ...] = ()
    """Further columns, with a number for each station that does not change, e.g. altitude; models may use them."""

    @field_validator("static")
    @classmethod
    def _once(cls, static: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(static)) < len(static) or "" in static:
            raise ValueError(f"{list(static)} names a column twice or not at all; name each once, e.g. [altitude]")
        return static


class Axis(Strict):
    """Evenly spaced coordinates of a grid."""

    start: float
    """First coordinate, degrees."""
    step: float
    """Distance to the next, degrees; negative where coordinates fall."""
    count: Annotated[int, Field(ge=1, le=20_000)]
    """How many there are."""

    @field_validator("step")
    @classmethod
    def _moves(cls, step: float) -> float:
        if step == 0:
            raise ValueError("0 is no distance; give that between neighbours, e.g. 0.25")
        return step


class Grid(Strict):
    """Cells of a regular grid. Rows run along latitude; a cell is named by row and column, as in ``r012c003``."""

    kind: Literal["grid"]
    longitude: Axis
    """Columns, degrees east."""
    latitude: Axis
    """Rows, degrees north."""


class Feed(Strict):
    """One source of observations."""

    source: AnySource
    """Where payloads come from and how they are read."""
    step: Duration
    """Cadence of the observations."""
    delay: Duration = timedelta(0)
    """From a value's valid_time until it is usually known here; sets known_at of loaded history."""
    clock: Literal["wall", "record"] = "wall"
    """wall: the feed is live. record: an archive that has ended; 'now' is when its next value would be due."""
    locations: Annotated[Stations | Grid, Field(discriminator="kind")]
    """Where is observed: scattered stations or the cells of a grid."""
    lookback: Duration = timedelta(days=2)
    """How far before the newest value a source that is asked by time is asked again, for what came late or changed."""
    history: Duration | None = None
    """How far back the first ingest goes, for a source that is asked by time. Default: as far as the source keeps."""
    variables: dict[Name, VariableSpec]
    """Observed variables by CF standard name where there is one."""
    quality: Annotated[Quality, AfterValidator(fits_feed)] = Quality()
    """What is demanded of the rows beyond their limits, and what happens to those that do not meet it."""
    attribution: str = ""
    """Provenance and licence line shown with every forecast."""
    _product: str = PrivateAttr(default="")
    _name: str = PrivateAttr(default="")
    _folder: Path = PrivateAttr(default=Path())

    @property
    def product(self) -> str:
        """Name of the product that the feed belongs to."""
        return self._product

    @property
    def name(self) -> str:
        """Name among the covariates of the product; empty for the observations themselves."""
        return self._name

    @property
    def is_covariate(self) -> bool:
        """Whether the feed is known in advance, such as a weather model."""
        return bool(self._name)

    @property
    def title(self) -> str:
        """What errors call the feed, e.g. ``ireland-wind`` or ``ireland-wind.nwp``."""
        return f"{self._product}.{self._name}" if self._name else self._product

    @property
    def folder(self) -> Path:
        """Folder of the product file, where relative paths start."""
        return self._folder

    def within(self, product: str, name: str, folder: Path) -> Feed:
        """Return the feed as a part of a product file in `folder`."""
        feed = self.model_copy()
        feed._product, feed._name, feed._folder = product, name, folder
        return feed

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
