"""What every layout of a payload table shares: what a source says of it, the rows it becomes, and what is refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from expectations.reasons import Reason
from pipeline.config import Feed, TimeStamps
from pipeline.errors import ConfigError, ContractError
from pipeline.ingest.decoding.cells import Decimal, encode, read_texts
from pipeline.ingest.decoding.resample import stand_ins
from pipeline.ingest.decoding.timestamp_parsing import Times
from pipeline.ingest.sources.base import TIME, Decoded, RefusedRow, refused_table, row_schema
from pipeline.locations import Locations
from pipeline.units import convert


class LayoutSpec(Protocol):
    """What a source says of its tables; `FilesSource` describes each field."""

    @property
    def layout(self) -> Literal["wide", "long", "tidy"]:
        """Shape of the table."""
        ...

    @property
    def time(self) -> TimeStamps:
        """Columns of the time stamps, and how they are written."""
        ...

    @property
    def location(self) -> str | None:
        """Column of the location id, long or tidy; None for the one station of the feed."""
        ...

    @property
    def variable(self) -> str:
        """Column that names the variable, tidy."""
        ...

    @property
    def value(self) -> str:
        """Column of the value, tidy."""
        ...

    @property
    def ignore(self) -> tuple[str, ...]:
        """Columns that are no locations, wide."""
        ...

    @property
    def missing(self) -> tuple[str, ...]:
        """Texts that mean no value."""
        ...

    @property
    def decimal(self) -> Decimal:
        """Decimal mark of numbers that are text."""
        ...


def assemble(
    feed: Feed,
    spec: LayoutSpec,
    times: Times,
    place: NDArray[np.int64],
    ids: pa.Array,
    values: Mapping[str, NDArray[np.float64]],
    *,
    known: Times | None,
    refused: Iterable[RefusedRow],
    notes: tuple[str, ...],
) -> Decoded:
    """Return good rows, in payload order, as a source decodes them; irregular ones gathered to the time grid.

    Args:
        feed: gives step, variables and units.
        spec: says whether rows are gathered.
        times: valid times, UTC.
        place: place of the location of each row in `ids`; -1 for none.
        ids: ids of locations.
        values: by variable of the feed, in the unit of the source; NaN for none.
        known: when each row became known, UTC.
        refused: rows that are not good.
        notes: passed on.
    """
    thinned = 0
    if spec.time.resample:
        series = number(place, known) if known is not None else place
        keep, times = stand_ins(times, series, feed.step, spec.time.resample)
        thinned = len(place) - len(keep)
        place, known = place[keep], at(known, keep)
        values = {name: column[keep] for name, column in values.items()}
    instants = [] if known is None else [pa.array(known, TIME)]
    columns = [in_store_units(values[name], feed, name) for name in feed.variables]
    locations = ids.cast(pa.string()).take(pa.array(place, mask=place < 0))
    rows = pa.table(
        [pa.array(times, TIME), locations, *instants, *columns],
        schema=row_schema(feed, known=known is not None),
    )
    return Decoded(rows, refused_table(refused), thinned, notes)


def in_store_units(values: NDArray[np.float64], feed: Feed, variable: str) -> pa.Array:
    """Return values of the unit that the source delivers in the unit of the stores; NaN becomes null."""
    units = feed.variable(variable)[0]
    converted = convert(values, feed.variables[variable].source_units or units, units)
    return pa.array(converted, pa.float64(), from_pandas=True)  # NaN is null


def number(*keys: NDArray[Any] | None) -> NDArray[np.int64]:
    """Return a number from 0 for each row, the same where all keys are the same; a key of None is left out."""
    numbers: NDArray[np.int64] | None = None
    for key in keys:
        if key is not None:
            codes = pd.factorize(key.view(np.int64))[0]
            numbers = codes if numbers is None else pd.factorize(numbers * (codes.max(initial=0) + 1) + codes)[0]
    if numbers is None:
        raise ValueError("no key")
    return numbers.astype(np.int64)


def at(known: Times | None, rows: NDArray[np.int64]) -> Times | None:
    """Return some of the instants, where there are any."""
    return None if known is None else known[rows]


def read_places(
    table: pa.Table, feed: Feed, spec: LayoutSpec, locations: Locations
) -> tuple[NDArray[np.int64], pa.Array]:
    """Return the place of the location of each row among some ids, -1 for none, and the ids.

    Raises:
        ConfigError: no column has the location, and the feed has several.
        ContractError: the column is not there.
    """
    if spec.location is not None:
        require(table, (spec.location,))
        return encode(read_texts(table.column(spec.location), name=spec.location))
    if len(locations) != 1:
        problem = f"null is for a feed of one station, and this one has {len(locations)}"
        raise ConfigError(feed.title, "feed.source.location", problem, "name the column with the location id")
    return np.zeros(len(table), np.int64), pa.array(locations.ids, pa.string())


def cells_of(table: pa.Table, rows: NDArray[np.int64]) -> dict[int, dict[str, object]]:
    """Return the cells of some rows as the payload has them, by row."""
    wanted = np.unique(rows)
    return dict(zip(map(int, wanted), table.take(pa.array(wanted)).to_pylist(), strict=True))


def require(table: pa.Table, names: Iterable[str]) -> None:
    """Raise ContractError when a column is not there, and say which one may be meant."""
    for name in names:
        if name not in table.column_names:
            known = table.column_names
            raise ContractError(f"no column '{name}'; {near(name, known)}it has {', '.join(known)[:200]}")


def require_known(feed: Feed, known: Times | None) -> None:
    """Raise ConfigError when a covariate, whose rows have times of their own, comes without them."""
    if feed.is_covariate and known is None:
        problem = "its tables do not say when a row became known, as rows of covariates must"
        raise ConfigError(feed.title, "source", problem, "name the column that tells in known_at")


def near(name: str, known: Iterable[str]) -> str:
    """Return a question after the likeliest of the known names, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{close[0]}'? " if close else ""


def not_a_number(variable: str, cell: object) -> Reason:
    """Return the reason of a cell that holds no number."""
    return Reason("invalid_number", variable, str(cell).strip()[:80])
