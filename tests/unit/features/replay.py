"""Bitemporal rows in any order, for property tests, and the naive replay that is their truth."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.features.arrays import Frames
from pipeline.features.files import frame_writer, read_frames
from pipeline.features.frames import build_frames, frames_from_rows

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
START = datetime(2001, 1, 1, tzinfo=UTC)
PLACES = ("A", "B")
CHANNELS = ("u", "v")
TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [("valid_time", TIME), ("location", pa.string()), ("known_at", TIME), ("u", pa.float64()), ("v", pa.float64())]
)


class Row(NamedTuple):
    valid_time: datetime
    location: str
    known_at: datetime
    u: float | None
    v: float | None


def table_of(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist([row._asdict() for row in rows], schema=SCHEMA)


def frames_of(rows: Sequence[Row]) -> Frames:
    return build_frames(table_of(rows), locations=PLACES, variables=CHANNELS, step=DAY)


def mapped_frames_of(rows: Sequence[Row], cuts: Sequence[datetime] = ()) -> Frames:
    """Frames written part by part, cut at valid times, and mapped from files that have lost their names since."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bounds = [datetime.min.replace(tzinfo=UTC), *sorted(cuts), datetime.max.replace(tzinfo=UTC)]
        with frame_writer(folder, channels=len(CHANNELS), locations=len(PLACES), step=DAY) as writer:
            for since, until in pairwise(bounds):
                part = [row for row in rows if since <= row.valid_time < until]
                frames = frames_from_rows(table_of(part), locations=PLACES, variables=CHANNELS, step=DAY)
                if frames is not None:
                    writer.append(frames, rows=len(part))
        return read_frames(folder)


def some_rows(*, max_size: int = 20, days: int = 6) -> st.SearchStrategy[list[Row]]:
    """Rows of some days, each known from before its time to weeks after it; one revision of a key at an instant."""
    values = st.none() | st.integers(-9, 9).map(float)
    row = st.builds(
        lambda day, place, late, u, v: Row(START + day * DAY, place, START + day * DAY + late, u, v),
        st.integers(0, days - 1),
        st.sampled_from([*PLACES, "elsewhere"]),
        # Exactly at, a tick before and a tick after the instants at which is looked: every 6 hours, and 7 o'clock.
        st.builds(
            lambda quarters, hours, ticks: quarters * DAY / 4 + hours * HOUR + timedelta(microseconds=ticks),
            st.integers(-4, 40),
            st.integers(0, 1),
            st.integers(-1, 1),
        ),
        values,
        values,
    )
    unique = st.lists(row, min_size=1, max_size=max_size, unique_by=lambda one: one[:3])
    return unique.filter(lambda rows: any(one.location in PLACES for one in rows))


def replay(rows: Sequence[Row], known_by: datetime, times: Sequence[datetime]) -> NDArray[np.float32]:
    """Return (time, channel, location): the last revision known by an instant, found row by row."""
    seen = np.full((len(times), len(CHANNELS), len(PLACES)), np.nan, np.float32)
    for row in sorted(rows, key=lambda one: one.known_at):
        if row.known_at <= known_by and row.valid_time in times and row.location in PLACES:
            values = [np.nan if value is None else value for value in (row.u, row.v)]
            seen[times.index(row.valid_time), :, PLACES.index(row.location)] = values
    return seen
