from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.features.asof import as_of, windows_as_of
from pipeline.times import as_datetime, as_numpy
from tests.unit.features.replay import DAY, HOUR, START, Row, frames_of, replay, some_rows

TICK = timedelta(microseconds=1)
INSTANTS = st.integers(-10, 60).map(lambda sixth: START + sixth * 6 * HOUR)


def as_int(instant: datetime) -> int:
    return int(as_numpy(instant).astype(np.int64))


def test_a_value_is_known_from_its_very_instant_on() -> None:
    frames = frames_of([Row(START, "A", START + HOUR, 1.0, None), Row(START, "A", START + DAY, 2.0, 5.0)])
    told = [as_of(frames, instant)[0, :, 0].tolist() for instant in (START + HOUR, START + DAY - TICK, START + DAY)]
    np.testing.assert_array_equal(told, [[1, np.nan], [1, np.nan], [2, 5]])
    assert np.isnan(as_of(frames, START + HOUR - TICK)).all()


def test_a_withdrawn_value_is_unknown_again() -> None:
    frames = frames_of([Row(START, "A", START, 1.0, 1.0), Row(START, "A", START + DAY, None, 1.0)])
    assert np.isnan(as_of(frames, START + DAY)[0, 0, 0])
    assert as_of(frames, START + DAY)[0, 1, 0] == 1


@given(some_rows(), INSTANTS)
@settings(max_examples=150, deadline=None)
def test_as_of_is_a_naive_replay(rows: list[Row], instant: datetime) -> None:
    # F15
    frames = frames_of(rows)
    times = [as_datetime(time) for time in frames.times]
    np.testing.assert_array_equal(as_of(frames, instant), replay(rows, instant, times))


@given(some_rows(), st.lists(st.tuples(st.integers(-4, 12), INSTANTS), min_size=1, max_size=6), st.integers(1, 9))
@settings(max_examples=150, deadline=None)
def test_each_window_is_a_naive_replay_at_its_own_instant(
    rows: list[Row], windows: list[tuple[int, datetime]], length: int
) -> None:
    # Windows in any order, at any instants, beyond both ends of the axis.
    frames = frames_of(rows)
    first = as_datetime(frames.times[0])
    last = np.array([position for position, _ in windows])
    known_by = np.array([as_int(instant) for _, instant in windows])
    found = windows_as_of(frames, last, known_by, length)
    assert found.shape == (len(windows), length, 2, 2)
    assert found.dtype == np.float32
    for values, (position, instant) in zip(found, windows, strict=True):
        times = [first + (position + n) * DAY for n in range(1 - length, 1)]
        np.testing.assert_array_equal(values, replay(rows, instant, times))
        # ... and so what `as_of` says at that instant, where the axis has it.
        whole = as_of(frames, instant)
        for n, time in enumerate(times):
            row = frames.index(time)
            if 0 <= row < len(whole):
                np.testing.assert_array_equal(values[n], whole[row])
            else:
                assert np.isnan(values[n]).all()


def test_no_windows_are_no_values() -> None:
    frames = frames_of([Row(START, "A", START, 1.0, 1.0)])
    assert windows_as_of(frames, np.zeros(0, np.int64), np.zeros(0, np.int64), 3).shape == (0, 3, 2, 2)
