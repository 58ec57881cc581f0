"""Irregular observations resampled to the time grid of a feed."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from expectations.observations import off_grid
from pipeline.steps import CalendarStep, Step

Times = NDArray[np.datetime64]


def select_rows(
    times: Times, groups: NDArray[np.int64], step: Step, window: timedelta
) -> tuple[NDArray[np.int64], Times]:
    """Return the rows of the observations selected for grid points, in payload order, and those points.

    An observation counts for the grid point at or next after its time, unless it is older than `window` by then. The
    last one of each group and point is selected; of several at the same time, the last in payload order.

    Args:
        times: UTC, microseconds, none missing.
        groups: a number for each observation; equal numbers form one series.
        step: interval of the grid.
        window: largest age of an observation at its grid point.
    """
    wait = _time_to_grid(times, step)
    fit = np.flatnonzero(wait <= np.timedelta64(window))
    points = times[fit] + wait[fit]
    order = np.lexsort((times[fit], points, groups[fit]))  # keeps payload order where all are equal
    changes = (np.diff(points[order]) != np.timedelta64(0)) | (np.diff(groups[fit][order]) != 0)
    last = np.sort(order[np.append(changes, True)]) if len(order) else order
    return fit[last], points[last]


def _time_to_grid(times: Times, step: Step) -> NDArray[np.timedelta64]:
    """Return how long after each time the grid point at or next after it is."""
    if isinstance(step, CalendarStep):
        before = times - np.timedelta64(1, "us")
        return step.starts(step.numbers(before) + 1) - times
    past = off_grid(times, step)
    return np.where(past > 0, step // timedelta(microseconds=1) - past, 0).astype("timedelta64[us]")
