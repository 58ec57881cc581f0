"""Whether the time stamps of a source fit the step of its feed, and which step they fit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expectations.observations import off_grid
from pipeline.config import Feed, TimeStamps
from pipeline.config.steps import format_step
from pipeline.steps import CalendarStep, Step, period_name
from pipeline.times import as_datetime

Times = NDArray[np.datetime64]

_CALENDAR = {"day": (0.9, 1.1), "week": (6.9, 7.1), "month": (27.9, 31.1), "quarter": (88.9, 93.1)}
"""Days between successive time stamps, from and to."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why most rows of a source would be refused with the step of its feed, and what to write instead."""

    problem: str
    remedy: str


def find_misfit(rows: pa.Table, refused: pa.Table, feed: Feed) -> Misfit | None:
    """Return why most rows would be refused for their time; None if the step fits.

    With a duration, they are off the time grid; with a calendar step, several rows of a location mean the same step.

    Args:
        rows: decoded rows, before the checks.
        refused: the rows that the checks refused.
        feed: whose step is in question.
    """
    if isinstance(feed.step, timedelta):
        times = _valid_times(rows)
        off = off_grid(times, feed.step) > 0
        if 2 * int(off.sum()) <= len(rows):
            return None
        example = period_name(as_datetime(times[off][0]), feed.step)
        problem = (
            f"{int(off.sum()):,} of {len(rows):,} rows are off the time grid of {format_step(feed.step)} from 1970"
        )
        fits = fitting_step(rows, feed)
        remedy = (
            f"write step: {format_step(fits)}, which their time stamps fit"
            if fits
            else (f"write their step, or resample: {format_step(feed.step)} in feed.source.time if they are irregular")
        )
        return Misfit(f"{problem}, e.g. {example}", remedy)
    repeated = pc.sum(pc.match_substring(refused["reasons"], '"unique"')).as_py() or 0
    if 2 * repeated <= len(rows):
        return None
    return Misfit(
        f"{repeated:,} of {len(rows):,} rows contradict a later one of the same {feed.step.unit} and location",
        "write the step of the rows, e.g. 1d",
    )


def fitting_step(rows: pa.Table, feed: Feed) -> Step | None:
    """Return a step with which each time stamp of a feed with a fixed step has a slot of its own, if one is evident."""
    stamps = getattr(feed.source, "time", None)
    zone = stamps.zone if isinstance(stamps, TimeStamps) else "UTC"
    times = _times_of_one_location(rows)
    if len(times) < 3 or not isinstance(feed.step, timedelta):
        return None
    if feed.source.time_label == "start":
        times = times - np.timedelta64(feed.step)
    gap = timedelta(microseconds=int(np.median(np.diff(times).astype(np.int64))))
    if _is_step(gap) and not off_grid(times, gap).any():
        return gap
    for unit, (least, most) in _CALENDAR.items():
        step = CalendarStep(unit, zone)  # type: ignore[arg-type]
        if least * _DAY <= gap <= most * _DAY and step != CalendarStep("day"):
            numbers = step.numbers(times)
            return step if len(np.unique(numbers)) == len(numbers) else None
    return None


def _is_step(gap: timedelta) -> bool:
    return gap >= timedelta(seconds=1) and not gap % timedelta(seconds=1) and not (_DAY % gap and gap % _DAY)


def _valid_times(rows: pa.Table) -> Times:
    return np.asarray(rows["valid_time"].to_numpy(), "datetime64[us]")


def _times_of_one_location(rows: pa.Table) -> Times:
    """Return the distinct times of the location with the most rows, ascending."""
    counts = rows.group_by("location").aggregate([("valid_time", "count")])
    if not len(counts):
        return np.empty(0, "datetime64[us]")
    fullest = counts["location"][int(np.argmax(counts["valid_time_count"].to_numpy()))]
    chosen = rows.filter(pc.equal(rows["location"], fullest))
    return np.unique(_valid_times(chosen.filter(pc.is_valid(chosen["valid_time"]))))
