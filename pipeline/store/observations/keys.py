"""Numbers for the keys of rows: (valid_time, location) pairs, ordered by time, then location."""

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
    """All combinations of the valid times and locations of some rows, numbered from 0 in ascending order."""

    def __init__(self, times: Int, locations: pa.Array) -> None:
        self._times, self._locations = times, locations

    @classmethod
    def from_rows(cls, rows: pa.Table) -> tuple[Keys, Int]:
        """Return the keys of some rows, and the number of each row's key."""
        times = timestamps(rows, "valid_time")
        if np.all(times[1:] >= times[:-1]):
            starts = np.diff(times, prepend=times[:1] - 1) != 0
            distinct, time_number = times[starts], np.cumsum(starts) - 1
        else:
            distinct, time_number = np.unique(times, return_inverse=True)
        encoded = rows["location"].dictionary_encode().unify_dictionaries()
        names = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], pa.string())
        order = pc.sort_indices(names).to_numpy()
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        location_number = [rank[chunk.indices.to_numpy()] for chunk in encoded.chunks]
        number: Int = time_number * len(order) + (np.concatenate(location_number) if location_number else 0)
        return cls(distinct, names.take(pa.array(order))), number

    @property
    def times(self) -> Int:
        """Distinct valid times, ascending, in microseconds since the epoch."""
        return self._times

    @property
    def locations(self) -> pa.Array:
        """Distinct locations, ascending."""
        return self._locations

    def number_rows(self, rows: pa.Table) -> Int:
        """Return the key number of each of some other rows; -1 where time or location is unknown."""
        times = timestamps(rows, "valid_time")
        time_number = np.searchsorted(self._times, times)
        time_number[time_number == len(self._times)] = 0
        found = pc.index_in(rows["location"], value_set=self._locations)
        location_number = pc.fill_null(found, -1).to_numpy().astype(np.int64)
        number: Int = time_number * len(self._locations) + location_number
        number[(location_number < 0) | (self._times[time_number] != times)] = -1
        return number

    def to_columns(self, numbers: Int) -> dict[str, pa.Array]:
        """Return the columns valid_time, location and month of key numbers; texts are dictionary-encoded."""
        time_number, location_number = np.divmod(numbers, len(self._locations))
        months, month = np.unique(self._times.astype("datetime64[us]").astype("datetime64[M]"), return_inverse=True)
        names = pa.array(months.astype(str))
        return {
            "valid_time": pa.array(self._times[time_number], pa.int64()).cast(TIME),
            "location": pa.DictionaryArray.from_arrays(location_number.astype(np.int32), self._locations),
            "month": pa.DictionaryArray.from_arrays(month[time_number].astype(np.int32), names),
        }


def timestamps(rows: pa.Table, name: str) -> Int:
    """Return a timestamp column as (row,) microseconds since the epoch."""
    values: Int = rows[name].cast(pa.int64()).to_numpy()
    return values


def value_matrix(rows: pa.Table, variables: tuple[str, ...]) -> Float:
    """Return the values as (variable, row), with NaN for missing ones."""
    values = np.empty((len(variables), rows.num_rows))
    for index, name in enumerate(variables):
        values[index] = rows[name].to_numpy()
    return values


def sort_order(major: Int, minor: Int | None = None) -> Int | None:
    """Return the stable order by `major`, then `minor`; None if the rows are already sorted."""
    if minor is None:
        return None if np.all(major[1:] >= major[:-1]) else np.argsort(major, kind="stable")
    step = np.diff(major)
    if np.all((step > 0) | ((step == 0) & (minor[1:] >= minor[:-1]))):
        return None
    return np.lexsort((minor, major))
