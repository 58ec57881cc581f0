"""Keys of rows as numbers: (valid_time, location) pairs that sort by time, then location."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
TIME = pa.timestamp("us", tz="UTC")


class Keys:
    """Every key that the times and the locations of some rows can make, numbered in order from 0."""

    def __init__(self, times: Int, places: pa.Array) -> None:
        self._times, self._places = times, places

    @classmethod
    def of(cls, rows: pa.Table) -> tuple[Keys, Int]:
        """Return the keys of some rows, and the number of each row."""
        times = instants(rows, "valid_time")
        if np.all(times[1:] >= times[:-1]):
            fresh = np.diff(times, prepend=times[:1] - 1) != 0
            distinct, when = times[fresh], np.cumsum(fresh) - 1
        else:
            distinct, when = np.unique(times, return_inverse=True)
        told = rows["location"].dictionary_encode().unify_dictionaries()
        names = told.chunk(0).dictionary if told.num_chunks else pa.array([], pa.string())
        order = pc.sort_indices(names).to_numpy()
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        where = [rank[chunk.indices.to_numpy()] for chunk in told.chunks]
        number: Int = when * len(order) + (np.concatenate(where) if where else 0)
        return cls(distinct, names.take(pa.array(order))), number

    @property
    def times(self) -> Int:
        """Valid times, ascending, microseconds since the epoch."""
        return self._times

    @property
    def places(self) -> pa.Array:
        """Locations, ascending."""
        return self._places

    def number(self, rows: pa.Table) -> Int:
        """Return the number of each of other rows; -1 for a time or a location that is none of these."""
        times = instants(rows, "valid_time")
        when = np.searchsorted(self._times, times)
        when[when == len(self._times)] = 0
        where = pc.fill_null(pc.index_in(rows["location"], value_set=self._places), -1).to_numpy().astype(np.int64)
        number: Int = when * len(self._places) + where
        number[(where < 0) | (self._times[when] != times)] = -1
        return number

    def columns(self, numbers: Int) -> dict[str, pa.Array]:
        """Return valid_time, location and month of numbered keys; the texts as codes of a dictionary."""
        when, where = np.divmod(numbers, len(self._places))
        months, month = np.unique(self._times.astype("datetime64[us]").astype("datetime64[M]"), return_inverse=True)
        return {
            "valid_time": pa.array(self._times[when], pa.int64()).cast(TIME),
            "location": pa.DictionaryArray.from_arrays(where.astype(np.int32), self._places),
            "month": pa.DictionaryArray.from_arrays(month[when].astype(np.int32), pa.array(months.astype(str))),
        }


def instants(rows: pa.Table, name: str) -> Int:
    """Return a column of instants as (row,) microseconds since the epoch."""
    found: Int = rows[name].cast(pa.int64()).to_numpy()
    return found


def matrix(rows: pa.Table, variables: tuple[str, ...]) -> Float:
    """Return values as (variable, row), NaN where there is none."""
    values = np.empty((len(variables), rows.num_rows))
    for place, name in enumerate(variables):
        values[place] = rows[name].to_numpy()
    return values


def order_of(major: Int, minor: Int | None = None) -> Int | None:
    """Return the stable order by `major`, then `minor`; None when the rows are in it already."""
    if minor is None:
        return None if np.all(major[1:] >= major[:-1]) else np.argsort(major, kind="stable")
    step = np.diff(major)
    if np.all((step > 0) | ((step == 0) & (minor[1:] >= minor[:-1]))):
        return None
    return np.lexsort((minor, major))
