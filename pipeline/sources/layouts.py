"""The two shapes a payload table may have, wide and long, and what each becomes: rows and refused rows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config import Product
from pipeline.errors import ContractError
from pipeline.locations import Locations
from pipeline.sources.base import TIME, Decoded, refused_table, row_schema
from pipeline.sources.cells import as_json, read_numbers, read_texts
from pipeline.sources.stamps import read_stamps
from pipeline.units import convert


def decode_wide(table: pa.Table, product: Product, locations: Locations) -> Decoded:
    """Return the rows of a table with one column a station; a missing cell or column is no row.

    Raises:
        ContractError: a column is no station and not ignored, so that nothing can shift silently.
    """
    feed = product.feed
    source, (variable,) = feed.source, feed.variables
    _require(table, source.time.columns)
    others = [name for name in table.column_names if name not in (*source.time.columns, *source.ignore)]
    for name in others:
        if name not in locations.ids:
            raise ContractError(
                f"column '{name}' is no station; {_near(name, locations.ids)}or list it in feed.source.ignore"
            )
    if not others:
        raise ContractError(f"no column is a station; expected some of {', '.join(locations.ids[:5])}")
    stamps = read_stamps(table, source.time, feed.step)
    read = [read_numbers(name, table.column(name), source.missing) for name in others]
    values, unreadable = (np.stack(part, axis=1) for part in zip(*read, strict=True))

    timed = ~np.isnat(stamps.valid_time)[:, np.newaxis]
    flat = np.flatnonzero(~np.isnan(values) & timed)  # in payload order: by row, then by column
    row, column = np.divmod(flat, len(others))
    rows = pa.table(
        [
            pa.array(stamps.valid_time[row], TIME),
            pa.array(others, pa.string()).take(pa.array(column)),
            _in_store_units(values.ravel()[flat], product, variable),
        ],
        schema=row_schema(product),
    )
    bad = np.argwhere(unreadable | (~np.isnan(values) & ~timed))
    given = _given(table, bad[:, 0])
    refused = []
    for at, station in bad:
        cells, name = given[int(at)], others[station]
        reasons = [stamps.reasons[at]] if at in stamps.reasons else []
        if unreadable[at, station]:
            reasons.append(_no_number(variable, cells[name]))
        kept = {key: cells[key] for key in (*source.time.columns, name)}
        refused.append((stamps.valid_time[at], name, as_json(kept), "; ".join(reasons)))
    return Decoded(rows, refused_table(refused))


def decode_long(table: pa.Table, product: Product) -> Decoded:
    """Return the rows of a table with one row per time and location; a row without any value is dropped.

    Raises:
        ContractError: a column of the product is not there.
    """
    feed = product.feed
    source = feed.source
    columns = {name: spec.source_name or name for name, spec in feed.variables.items()}
    _require(table, (*source.time.columns, source.location, *columns.values()))
    stamps = read_stamps(table, source.time, feed.step)
    location = read_texts(table.column(source.location))
    read = {name: read_numbers(column, table.column(column), source.missing) for name, column in columns.items()}

    unreadable = np.any([bad for _, bad in read.values()], axis=0)
    present = np.any([~np.isnan(values) for values, _ in read.values()], axis=0)
    timed = ~np.isnat(stamps.valid_time)
    keep = np.flatnonzero(present & timed & ~unreadable)
    rows = pa.table(
        [
            pa.array(stamps.valid_time[keep], TIME),
            location.take(pa.array(keep)),
            *(_in_store_units(values[keep], product, name) for name, (values, _) in read.items()),
        ],
        schema=row_schema(product),
    )
    bad = np.flatnonzero(unreadable | (present & ~timed))
    given = _given(table, bad)
    refused = []
    for at in map(int, bad):
        cells = given[at]
        reasons = [stamps.reasons[at]] if at in stamps.reasons else []
        reasons += [_no_number(name, cells[columns[name]]) for name, (_, wrong) in read.items() if wrong[at]]
        refused.append((stamps.valid_time[at], location[at].as_py(), as_json(cells), "; ".join(reasons)))
    return Decoded(rows, refused_table(refused))


def _in_store_units(values: NDArray[np.float64], product: Product, variable: str) -> pa.Array:
    units = product.feed.variable(variable)[0]
    converted = convert(values, product.feed.variables[variable].source_units or units, units)
    return pa.array(converted, pa.float64(), from_pandas=True)  # NaN is null


def _given(table: pa.Table, rows: NDArray[np.int64]) -> dict[int, dict[str, object]]:
    """Return the cells of some rows as the payload has them."""
    wanted = np.unique(rows)
    return dict(zip(map(int, wanted), table.take(pa.array(wanted)).to_pylist(), strict=True))


def _require(table: pa.Table, names: Iterable[str]) -> None:
    for name in names:
        if name not in table.column_names:
            known = table.column_names
            raise ContractError(f"no column '{name}'; {_near(name, known)}it has {', '.join(known)[:200]}")


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{near[0]}'? " if near else ""


def _no_number(variable: str, cell: object) -> str:
    return f"{variable}: {str(cell).strip()[:80]!r} is no number"
