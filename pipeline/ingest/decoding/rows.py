"""What all layouts share: how a table is described, its locations and cells, and the rows made of it."""

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
from pipeline.ingest.decoding.resample import select_rows
from pipeline.ingest.decoding.timestamp_parsing import Times
from pipeline.ingest.sources.base import TIME, Decoded, RefusedRow, refused_table, row_schema
from pipeline.locations import Locations
from pipeline.units import convert


class LayoutSpec(Protocol):
    """How a source describes its tables; `FilesSource` documents each field."""

    @property
    def layout(self) -> Literal["wide", "long", "tidy"]:
        """Shape of the table."""
        ...

    @property
    def time(self) -> TimeStamps:
        """Columns and format of the time stamps."""
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
    location: NDArray[np.int64],
    ids: pa.Array,
    values: Mapping[str, NDArray[np.float64]],
    *,
    known: Times | None,
    refused: Iterable[RefusedRow],
    notes: tuple[str, ...],
) -> Decoded:
    """Return the decoded payload of good rows, in payload order, resampled to the time grid if the source asks for it.

    Args:
        feed: for step, variables and units.
        spec: says whether rows are gathered.
        times: valid times, UTC.
        location: index of the location of each row in `ids`; -1 for none.
        ids: ids of locations.
        values: by variable of the feed, in the unit of the source; NaN for a missing value.
        known: when each row became known, UTC.
        refused: the refused rows.
        notes: notes on the payload.
    """
    downsampled = 0
    if spec.time.resample:
        series = group_numbers(location, known) if known is not None else location
        keep, times = select_rows(times, series, feed.step, spec.time.resample)
        downsampled = len(location) - len(keep)
        location, known = location[keep], take_known(known, keep)
        values = {name: column[keep] for name, column in values.items()}
    known_times = [] if known is None else [pa.array(known, TIME)]
    columns = [in_store_units(values[name], feed, name) for name in feed.variables]
    locations = ids.cast(pa.string()).take(pa.array(location, mask=location < 0))
    rows = pa.table(
        [pa.array(times, TIME), locations, *known_times, *columns],
        schema=row_schema(feed, known=known is not None),
    )
    return Decoded(rows, refused_table(refused), downsampled, notes)


def in_store_units(values: NDArray[np.float64], feed: Feed, variable: str) -> pa.Array:
    """Return values in the unit of the source converted to the unit of the stores; NaN becomes null."""
    units = feed.variable(variable).units
    converted = convert(values, feed.variables[variable].source_units or units, units)
    return pa.array(converted, pa.float64(), from_pandas=True)  # NaN is null


def group_numbers(*keys: NDArray[Any] | None) -> NDArray[np.int64]:
    """Return a number from 0 for each row, equal for rows with equal keys; a key of None is ignored."""
    numbers: NDArray[np.int64] | None = None
    for key in keys:
        if key is not None:
            codes = pd.factorize(key.view(np.int64))[0]
            numbers = codes if numbers is None else pd.factorize(numbers * (codes.max(initial=0) + 1) + codes)[0]
    if numbers is None:
        raise ValueError("all keys are None")
    return numbers.astype(np.int64)


def take_known(known: Times | None, rows: NDArray[np.int64]) -> Times | None:
    """Return the known times of some rows, if there are any."""
    return None if known is None else known[rows]


def read_location_codes(
    table: pa.Table, feed: Feed, spec: LayoutSpec, locations: Locations
) -> tuple[NDArray[np.int64], pa.Array]:
    """Return the index of the location of each row among the ids, -1 for none, and the ids.

    Raises:
        ConfigError: no column has the location, and the feed has several.
        ContractError: the column is missing.
    """
    if spec.location is not None:
        require_columns(table, (spec.location,))
        return encode(read_texts(table.column(spec.location), name=spec.location))
    if len(locations) != 1:
        problem = f"null needs a feed with one station, and this one has {len(locations)}"
        raise ConfigError(feed.title, "feed.source.location", problem, "name the column with the location id")
    return np.zeros(len(table), np.int64), pa.array(locations.ids, pa.string())


def cells_by_row(table: pa.Table, rows: NDArray[np.int64]) -> dict[int, dict[str, object]]:
    """Return the original cells of some rows, by row."""
    wanted = np.unique(rows)
    return dict(zip(map(int, wanted), table.take(pa.array(wanted)).to_pylist(), strict=True))


def require_columns(table: pa.Table, names: Iterable[str]) -> None:
    """Raise ContractError if a column is missing, with the name that it may have instead."""
    for name in names:
        if name not in table.column_names:
            known = table.column_names
            raise ContractError(f"no column '{name}'; {suggest(name, known)}it has {', '.join(known)[:200]}")


def require_known(feed: Feed, known: Times | None) -> None:
    """Raise ConfigError if the rows of a covariate do not say when they became known."""
    if feed.is_covariate and known is None:
        problem = "its tables do not say when a row became known, which rows of covariates need"
        raise ConfigError(feed.title, "source", problem, "name that column in known_at")


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a question with the most similar known name; empty if none is similar."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{close[0]}'? " if close else ""


def not_a_number(variable: str, cell: object) -> Reason:
    """Return the reason of a cell that holds no number."""
    return Reason("invalid_number", variable, str(cell).strip()[:80])
