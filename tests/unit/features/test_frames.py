from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NoDataError
from pipeline.features.frames import NEVER, Frames, build_frames
from tests.unit.features.replay import CHANNELS, DAY, HOUR, PLACES, START, Row, frames_of, some_rows, table_of


def micros(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000_000)


ROWS = [
    Row(START, "A", START + 6 * HOUR, 1.0, 10.0),
    Row(START + 2 * DAY, "B", START + 2 * DAY, 2.0, None),
    Row(START, "A", START + 30 * HOUR, 3.0, 10.0),
    Row(START, "A", START + 20 * HOUR, 2.0, 10.0),
    Row(START + 2 * DAY, "elsewhere", START, 9.0, 9.0),
]


def test_frames_by_hand() -> None:
    frames = frames_of(ROWS)
    nan = np.nan
    assert frames.times.tolist() == [(START + n * DAY).replace(tzinfo=None) for n in range(3)]
    np.testing.assert_array_equal(
        frames.first, np.array([[[1, nan], [10, nan]], [[nan, nan], [nan, nan]], [[nan, 2], [nan, nan]]], np.float32)
    )
    assert frames.known_at.tolist() == [
        [micros(START + 6 * HOUR), NEVER],
        [NEVER, NEVER],
        [NEVER, micros(START + 2 * DAY)],
    ]
    changed = frames.revisions
    assert changed.time_index.tolist() == changed.location_index.tolist() == [0, 0]
    assert changed.known_at.tolist() == [micros(START + 20 * HOUR), micros(START + 30 * HOUR)]
    assert changed.values.tolist() == [[2.0, 10.0], [3.0, 10.0]]
    assert (frames.first.dtype, frames.known_at.dtype, changed.values.dtype) == (np.float32, np.int64, np.float32)


def test_the_position_of_an_instant_may_lie_beyond_both_ends() -> None:
    frames = frames_of(ROWS)
    assert [frames.index(START + n * DAY) for n in (-2, 0, 2, 9)] == [-2, 0, 2, 9]
    assert frames.index(START - HOUR) == -1


@pytest.mark.parametrize("rows", [[], [Row(START, "elsewhere", START, 1.0, 1.0)]])
def test_no_row_of_any_location_is_no_data(rows: list[Row]) -> None:
    # F19
    with pytest.raises(NoDataError, match="no observations of any location"):
        frames_of(rows)


def test_a_station_that_never_reported_is_unknown_everywhere() -> None:
    # F18
    frames = build_frames(table_of(ROWS), locations=("A", "new", "B"), variables=CHANNELS, step=DAY)
    assert (frames.known_at[:, 1] == NEVER).all()
    assert np.isnan(frames.first[:, :, 1]).all()
    np.testing.assert_array_equal(frames.first[:, :, [0, 2]], frames_of(ROWS).first)


def test_arrays_follow_the_order_of_the_product_not_of_the_rows() -> None:
    # F18
    turned = build_frames(table_of(ROWS), locations=PLACES[::-1], variables=CHANNELS[::-1], step=DAY)
    np.testing.assert_array_equal(turned.first, frames_of(ROWS).first[:, ::-1, ::-1])


@given(some_rows(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_rows_does_not_matter(rows: list[Row], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert frames_of(shuffled).digest() == frames_of(rows).digest()


@given(some_rows(), st.data())
@settings(max_examples=60, deadline=None)
def test_the_digest_tells_any_change_a_reader_can_see(rows: list[Row], data: st.DataObject) -> None:
    seen = [n for n, row in enumerate(rows) if row.location in PLACES]
    n = data.draw(st.sampled_from(seen))
    field = data.draw(st.sampled_from(["u", "v", "known_at"]))
    row = rows[n]
    if field == "known_at":
        taken = {one.known_at for one in rows if one[:2] == row[:2]}
        other = row.known_at + timedelta(microseconds=3)
        assert other not in taken
    else:
        was = getattr(row, field)
        other = 99.0 if was is None else data.draw(st.sampled_from([None, was + 0.5]))
    changed = [*rows[:n], row._replace(**{field: other}), *rows[n + 1 :]]
    assert frames_of(changed).digest() != frames_of(rows).digest()


def test_the_digest_of_equal_data_is_equal_wherever_it_lies_in_memory() -> None:
    frames = frames_of(ROWS)
    copied = Frames(
        frames.times.copy(),
        frames.step,
        np.asfortranarray(frames.first),
        np.asfortranarray(frames.known_at),
        frames.revisions,
    )
    assert copied.digest() == frames.digest()
    assert len(frames.digest()) == 64


def test_hours_are_frames_too() -> None:
    rows = [Row(START + n * HOUR, "A", START + n * HOUR, float(n), 0.0) for n in (0, 5)]
    frames = build_frames(table_of(rows), locations=PLACES, variables=CHANNELS, step=HOUR)
    assert frames.first.shape == (6, 2, 2)
    assert frames.first[5, 0, 0] == 5
