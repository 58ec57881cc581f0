"""Local times to UTC, with ambiguous hours in autumn resolved by the order of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Times = NDArray[np.datetime64]
Mask = NDArray[np.bool_]

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, slots=True)
class Instants:
    """Local times converted to UTC."""

    utc: Times
    """NaT where there is no local time, or it does not exist."""
    skipped: Mask
    """Where the time does not exist because clocks went forward."""
    guessed: Mask
    """Where the time is ambiguous because clocks went back and the order of rows does not resolve it."""


def to_utc(local: Times, zone: str, groups: NDArray[np.int64], possible: Callable[[Times], Mask]) -> Instants:
    """Return local times, in payload order, as UTC.

    The order of the rows of a group resolves the ambiguous hour in autumn, in ascending and descending payloads alike.
    Where local time steps back once, the rows before are the first pass and the others the second. Where it steps back
    more often, a time that occurs twice is first the one and then the other. A time that occurs only once without such
    a step, or more than twice, is read as the first pass and marked as guessed. But if only one of the two instants is
    `possible`, it is that one.

    Args:
        local: local times, microseconds, without zone; NaT for none.
        zone: IANA name.
        groups: a number for each row; equal numbers form one series.
        possible: tells whether the feed can have an observation at some instants.
    """
    none = np.zeros(len(local), np.bool_)
    if zone == "UTC":
        return Instants(local, none, none)
    utc = _localise(local, zone, "NaT")  # of almost all rows
    open_ = np.flatnonzero(np.isnat(utc) & ~np.isnat(local))
    if not len(open_):
        return Instants(utc, none, none)
    first, second = (_localise(local[open_], zone, np.full(len(open_), side)) for side in (True, False))
    skipped, guessed = none.copy(), none.copy()
    skipped[open_] = np.isnat(first)
    twice = ~np.isnat(first)
    open_, first, second = open_[twice], first[twice], second[twice]
    only_first, only_second = possible(first) & ~possible(second), possible(second) & ~possible(first)
    later = only_second
    unknown = np.flatnonzero(~only_first & ~only_second)
    if len(unknown):
        later[unknown], guessed[open_[unknown]] = _by_order(local, groups, open_[unknown])
    utc[open_] = np.where(later, second, first)
    return Instants(utc, skipped, guessed)


def later_of_two(local: Times, zone: str) -> Times:
    """Return local times as UTC: the later instant of an ambiguous time, NaT for one that does not exist."""
    return local if zone == "UTC" else _localise(local, zone, np.zeros(len(local), np.bool_))


def _localise(local: Times, zone: str, ambiguous: str | Mask) -> Times:
    # True is the first pass for pandas, whatever the zone calls summer.
    aware = pd.Series(local).dt.tz_localize(zone, ambiguous=ambiguous, nonexistent="NaT")
    return np.array(aware.dt.tz_convert("UTC").dt.tz_localize(None), dtype="datetime64[us]")


def _by_order(local: Times, groups: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[Mask, Mask]:
    """Return for rows within ambiguous hours whether they belong to the second pass, and where that is a guess."""
    shown, place = np.unique(local[rows], return_inverse=True)
    period = np.cumsum(np.diff(shown, prepend=shown[:1]) > _DAY)[place]
    unit = np.unique(groups[rows] * (period.max() + 1) + period, return_inverse=True)[1]
    turn = np.where(_falling(local, groups)[groups[rows]], -rows, rows)

    order = np.lexsort((turn, unit))
    same = np.diff(unit[order]) == 0
    back = np.append(False, same & (np.diff(local[rows][order]) <= np.timedelta64(0)))
    backs = np.bincount(unit[order], weights=back)
    passed = np.cumsum(back)
    passed -= passed[np.searchsorted(unit[order], np.arange(len(backs)))][unit[order]]
    by_pass = np.empty(len(rows), np.bool_)
    by_pass[order] = passed == 1

    order = np.lexsort((turn, place, unit))
    begins = np.append(True, (np.diff(unit[order]) != 0) | (np.diff(place[order]) != 0))
    run = np.cumsum(begins) - 1
    pair, nth = np.empty(len(rows), np.bool_), np.empty(len(rows), np.int64)
    pair[order] = (np.bincount(run) == 2)[run]
    nth[order] = np.arange(len(rows)) - np.flatnonzero(begins)[run]

    once = (backs == 1)[unit]
    return np.where(once, by_pass, pair & (nth == 1)), ~once & ~pair


def _falling(local: Times, groups: NDArray[np.int64]) -> Mask:
    """Return for each group whether its local times fall from row to row, at least twice as often as they rise."""
    timed = np.flatnonzero(~np.isnat(local))
    timed = timed[np.argsort(groups[timed], kind="stable")]
    same = np.diff(groups[timed]) == 0
    change = np.diff(local[timed]).astype(np.int64)
    count = int(groups.max()) + 1
    falls, rises = (np.bincount(groups[timed][1:][same & way], minlength=count) for way in (change < 0, change > 0))
    return (falls > 0) & (falls >= 2 * rises)
