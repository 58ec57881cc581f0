"""The tidy layout: one row per time, location and variable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from expectations.reasons import Reason
from pipeline.config import Feed
from pipeline.errors import ContractError
from pipeline.ingest.decoding.cells import as_json, encode, read_numbers, read_texts
from pipeline.ingest.decoding.rows import (
    LayoutSpec,
    assemble,
    cells_by_row,
    group_numbers,
    not_a_number,
    read_location_codes,
    require_columns,
    require_known,
    suggest,
    take_known,
)
from pipeline.ingest.decoding.timestamp_parsing import Times
from pipeline.ingest.decoding.timestamps import read_valid_times
from pipeline.ingest.sources.base import Decoded
from pipeline.locations import Locations

_SHOWN = 5
_OTHER, _NAMELESS = -1, -2


def decode_tidy(
    table: pa.Table, feed: Feed, source: LayoutSpec, locations: Locations, *, known: Times | None = None
) -> Decoded:
    """Return the rows of a table with one row per time, location and variable, merged by time and location.

    Rows of other variables than those of the feed are left out and counted in a note. Of equal values of one variable
    the last is kept. Where the values differ, the last is merged with the last values of the other variables, and each
    earlier one becomes a row of its own before it, which the contract then refuses as a duplicate.

    Raises:
        ConfigError: no column has the location, and the feed has several.
        ContractError: a column is missing, or no row has a variable of the feed.
    """
    require_known(feed, known)
    require_columns(table, (*source.time.columns, source.variable, source.value))
    which, notes = _variables(table, feed, source)
    wanted = np.flatnonzero(which != _OTHER)
    if len(wanted) < len(table):
        table, which, known = table.take(pa.array(wanted)), which[wanted], take_known(known, wanted)
    place, ids = read_location_codes(table, feed, source, locations)
    stamps = read_valid_times(table, source.time, feed.step, groups=group_numbers(place, which, known))
    values, unreadable = read_numbers(source.value, table.column(source.value), source.missing, source.decimal)

    sound = (which >= 0) & ~np.isnat(stamps.valid_time)
    keep = np.flatnonzero(~np.isnan(values) & sound)
    bad = np.flatnonzero(unreadable | (~np.isnan(values) & ~sound))
    given, names = cells_by_row(table, bad), list(feed.variables)
    refused = []
    for line in map(int, bad):
        cells = given[line]
        reasons = [stamps.reasons[line]] if line in stamps.reasons else []
        name = names[which[line]] if which[line] >= 0 else ""
        if not name:
            reasons.append(Reason("missing_variable", source.variable))
        if unreadable[line]:
            reasons.append(not_a_number(name or source.value, cells[source.value]))
        location = ids[place[line]].as_py() if place[line] >= 0 else None
        refused.append((stamps.valid_time[line], location, as_json(cells), reasons))

    keep, row = _merge(keep, stamps.valid_time, place, known, which, values)
    first = np.zeros(row.max(initial=-1) + 1, np.int64)
    first[row] = keep  # any cell of a row has its time and location
    columns = {}
    for variable, name in enumerate(names):
        mine = which[keep] == variable
        columns[name] = np.full(len(first), np.nan)
        columns[name][row[mine]] = values[keep[mine]]
    return assemble(
        feed,
        source,
        stamps.valid_time[first],
        place[first],
        ids,
        columns,
        known=take_known(known, first),
        refused=refused,
        notes=(*notes, *stamps.notes),
    )


def _variables(table: pa.Table, feed: Feed, source: LayoutSpec) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the number of the variable of each row, and a note on rows of other variables."""
    codes, distinct = encode(read_texts(table.column(source.variable), name=source.variable))
    names = distinct.to_pylist()
    ours = {spec.source_name or name: number for number, (name, spec) in enumerate(feed.variables.items())}
    which = np.array([*(ours.get(name, _OTHER) for name in names), _NAMELESS])[codes]
    others = {
        name: count
        for name, count in zip(names, np.bincount(codes[codes >= 0], minlength=len(names)), strict=True)
        if name not in ours
    }
    if others and not np.any(which >= 0):
        hint = "".join(suggest(name, others) for name in ours)
        raise ContractError(
            f"no row has variable {' or '.join(ours)}; {hint}column '{source.variable}' has {', '.join(others)[:200]}"
        )
    if not others:
        return which, ()
    shown = ", ".join(f"{name[:80]} ({count})" for name, count in list(others.items())[:_SHOWN])
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    return which, (f"{sum(others.values())} rows of other variables were left out: {shown}{more}",)


def _merge(
    keep: NDArray[np.int64],
    times: Times,
    place: NDArray[np.int64],
    known: Times | None,
    which: NDArray[np.int64],
    values: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cells to keep, and the row of each; rows are in the order of their last cells."""
    key = group_numbers(times[keep], place[keep], take_known(known, keep))
    cell = key * (which.max(initial=0) + 1) + which[keep]
    rank = np.zeros(len(keep), np.int64)  # counted from the last
    if pd.Series(cell).duplicated().any():
        distinct = ~pd.DataFrame({"cell": cell, "value": values[keep]}).duplicated(keep="last").to_numpy()
        keep, key, cell = keep[distinct], key[distinct], cell[distinct]
        rank = pd.Series(cell).groupby(cell).cumcount(ascending=False).to_numpy().astype(np.int64)
    row = group_numbers(key, rank)
    last = np.zeros(row.max(initial=-1) + 1, np.int64)
    last[row] = np.arange(len(row))
    order = np.argsort(np.argsort(last))
    return keep, order[row]
