from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.features.asof import any_known, as_of, windows_as_of
from pipeline.times import as_datetime, as_numpy
from tests.unit.features.replay import (
    CHANNELS,
    DAY,
    HOUR,
    PLACES,
    START,
    Row,
    frames_of,
    mapped_frames_of,
    replay,
    some_rows,
)

TICK = timedelta(microseconds=1)
INSTANTS = st.integers(-10, 60).map(lambda sixth: START + sixth * 6 * HOUR)


def as_int(instant: datetime) -> int:
    return int(as_numpy(instant).astype(np.int64))


def test_a_value_is_known_from_its_known_at_on() -> None:
    frames = frames_of([Row(START, "A", START + HOUR, 1.0, None), Row(START, "A", START + DAY, 2.0, 5.0)])
    expected = [as_of(frames, instant)[0, :, 0].tolist() for instant in (START + HOUR, START + DAY - TICK, START + DAY)]
    np.testing.assert_array_equal(expected, [[1, np.nan], [1, np.nan], [2, 5]])
    assert np.isnan(as_of(frames, START + HOUR - TICK)).all()


def test_a_withdrawn_value_is_unknown_again() -> None:
    frames = frames_of([Row(START, "A", START, 1.0, 1.0), Row(START, "A", START + DAY, None, 1.0)])
    assert np.isnan(as_of(frames, START + DAY)[0, 0, 0])
    assert as_of(frames, START + DAY)[0, 1, 0] == 1


@given(some_rows(), INSTANTS, st.lists(st.integers(0, 6), max_size=2))
@settings(max_examples=150, deadline=None)
def test_as_of_is_a_naive_replay(rows: list[Row], instant: datetime, cuts: list[int]) -> None:
    # Of frames in memory and of those on disk.
    for frames in (frames_of(rows), mapped_frames_of(rows, [START + cut * DAY for cut in cuts])):
        times = [as_datetime(time) for time in frames.times]
        expected = replay(rows, instant, times)
        np.testing.assert_array_equal(as_of(frames, instant), expected)
        np.testing.assert_array_equal(any_known(frames, instant), np.isfinite(expected).any(axis=(1, 2)))
        np.testing.assert_array_equal(as_of(frames, instant, begin=1), expected[1:])
        np.testing.assert_array_equal(as_of(frames, instant, end=len(times) - 1), expected[:-1])


def test_each_of_many_revisions_is_known_from_its_instant_on() -> None:
    # Every cell has five revisions, an hour apart; looked at between them.
    rows = [
        Row(START + day * DAY, place, START + day * DAY + again * HOUR, 10.0 * day + again, float(again))
        for again in range(6)
        for day in range(4)
        for place in PLACES
    ]
    frames = mapped_frames_of(rows, [START + 2 * DAY])
    assert len(frames.revisions.time_index) == 4 * 2 * 5
    for again in range(6):
        expected = as_of(frames, START + 3 * DAY + again * HOUR)[3]
        np.testing.assert_array_equal(expected, [[30 + again] * 2, [again] * 2])
    assert np.isnan(as_of(frames, START + 3 * DAY - TICK)[3]).all()


def test_channels_are_returned_in_the_order_asked_for() -> None:
    frames = frames_of([Row(START, "A", START, 1.0, 2.0), Row(START, "A", START + HOUR, 3.0, None)])
    last = np.array([0])
    for instant, u, v in ((START, 1, 2), (START + HOUR, 3, 0)):
        known_by = np.array([as_int(instant)])
        values, mask = windows_as_of(frames, last, known_by, 1, channels=(1, 0))
        assert values[0, 0, :, 0].tolist() == [v, u]
        assert mask[0, 0, :, 0].tolist() == [bool(v), True]
        values, mask = windows_as_of(frames, last, known_by, 1, channels=(1,))
        assert (values.shape, values[0, 0, 0, 0]) == ((1, 1, 1, len(PLACES)), v)
    assert len(CHANNELS) == 2


def test_windows_do_not_write_into_the_frames() -> None:
    frames = frames_of([Row(START + n * DAY, "A", START + n * DAY, 1.0, 1.0) for n in range(3)])
    before = frames.digest()
    values, mask = windows_as_of(frames, np.array([2]), np.array([as_int(START + 9 * DAY)]), 3)
    values[...], mask[...] = 7, False
    assert frames.digest() == before


@given(some_rows(), st.lists(st.tuples(st.integers(-4, 12), INSTANTS), min_size=1, max_size=6), st.integers(1, 9))
@settings(max_examples=150, deadline=None)
def test_each_window_is_a_naive_replay_at_its_own_instant(
    rows: list[Row], windows: list[tuple[int, datetime]], length: int
) -> None:
    # Windows in any order, at any instants, beyond both ends of the axis.
    frames = mapped_frames_of(rows) if length % 2 else frames_of(rows)
    first = as_datetime(frames.times[0])
    last = np.array([position for position, _ in windows])
    known_by = np.array([as_int(instant) for _, instant in windows])
    filled, mask = windows_as_of(frames, last, known_by, length)
    assert (filled[~mask] == 0).all()
    found = np.where(mask, filled, np.float32(np.nan))
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


def test_without_windows_there_are_no_values() -> None:
    frames = frames_of([Row(START, "A", START, 1.0, 1.0)])
    none = np.zeros(0, np.int64)
    assert [array.shape for array in windows_as_of(frames, none, none, 3)] == [(0, 3, 2, 2), (0, 3, 2, 2)]
