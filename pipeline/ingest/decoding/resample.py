"""Irregular observations on the time grid of a feed: which one stands for which point."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from expectations.observations import off_grid

Times = NDArray[np.datetime64]


def stand_ins(
    times: Times, groups: NDArray[np.int64], step: timedelta, window: timedelta
) -> tuple[NDArray[np.int64], Times]:
    """Return which observations stand for a grid point, in payload order, and the grid points they stand for.

    An observation may stand for the next point, or the one it is on, if it is not older than `window` by then. Of
    those of a group that may, the last one does; of several at one time, the last in payload order.

    Args:
        times: UTC, microseconds, none missing.
        groups: a number for each observation; those with the same number are a series of their own.
        step: distance of grid points, counted from the epoch.
        window: greatest age of an observation at its point.
    """
    past = off_grid(times, step)
    to_go = np.where(past > 0, step // timedelta(microseconds=1) - past, 0).astype("timedelta64[us]")
    fit = np.flatnonzero(to_go <= np.timedelta64(window))
    points = times[fit] + to_go[fit]
    order = np.lexsort((times[fit], points, groups[fit]))  # keeps payload order where all are equal
    changes = (np.diff(points[order]) != np.timedelta64(0)) | (np.diff(groups[fit][order]) != 0)
    last = np.sort(order[np.append(changes, True)]) if len(order) else order
    return fit[last], points[last]
