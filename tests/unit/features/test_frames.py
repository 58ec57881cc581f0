from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NoDataError, StoreError
from pipeline.features.arrays import NEVER, Frames
from pipeline.features.frames import build_frames
from pipeline.times import as_datetime
from tests.unit.features.replay import (
    CHANNELS,
    DAY,
    HOUR,
    PLACES,
    START,
    Row,
    frames_of,
    mapped_frames_of,
    some_rows,
    table_of,
)


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
    assert frames.times.tolist() == [(START + n * DAY).replace(tzinfo=None) for n in range(3)]
    np.testing.assert_array_equal(
        frames.first, np.array([[[1, 0], [10, 0]], [[0, 0], [0, 0]], [[0, 2], [0, 0]]], np.float32)
    )
    assert frames.mask.tolist() == (frames.first != 0).tolist()
    assert frames.known_at.tolist() == [
        [micros(START + 6 * HOUR), NEVER],
        [NEVER, NEVER],
        [NEVER, micros(START + 2 * DAY)],
    ]
    changed = frames.revisions
    assert changed.time_index.tolist() == changed.location_index.tolist() == [0, 0]
    assert changed.known_at.tolist() == [micros(START + 20 * HOUR), micros(START + 30 * HOUR)]
    assert changed.values.tolist() == [[2.0, 10.0], [3.0, 10.0]]
    assert frames.first.dtype == np.float32
    assert frames.known_at.dtype == np.int64
    assert changed.values.dtype == np.float32


def test_the_index_of_an_instant_may_be_beyond_both_ends() -> None:
    frames = frames_of(ROWS)
    assert [frames.index(START + n * DAY) for n in (-2, 0, 2, 9)] == [-2, 0, 2, 9]
    assert frames.index(START - HOUR) == -1


@pytest.mark.parametrize("rows", [[], [Row(START, "elsewhere", START, 1.0, 1.0)]])
def test_rows_of_other_locations_only_are_no_data(rows: list[Row]) -> None:
    with pytest.raises(NoDataError, match="no observations of any location"):
        frames_of(rows)


def test_a_station_without_reports_is_missing_everywhere() -> None:
    frames = build_frames(table_of(ROWS), locations=("A", "new", "B"), variables=CHANNELS, step=DAY)
    assert (frames.known_at[:, 1] == NEVER).all()
    assert not frames.mask[:, :, 1].any()
    np.testing.assert_array_equal(frames.first[:, :, [0, 2]], frames_of(ROWS).first)


def test_arrays_follow_the_order_of_the_product_not_of_the_rows() -> None:
    turned = build_frames(table_of(ROWS), locations=PLACES[::-1], variables=CHANNELS[::-1], step=DAY)
    np.testing.assert_array_equal(turned.first, frames_of(ROWS).first[:, ::-1, ::-1])


@given(some_rows(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_rows_does_not_matter(rows: list[Row], random: Random) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert frames_of(shuffled).digest() == frames_of(rows).digest()


@given(some_rows(), st.data())
@settings(max_examples=60, deadline=None)
def test_the_digest_changes_with_any_visible_change(rows: list[Row], data: st.DataObject) -> None:
    seen = [n for n, row in enumerate(rows) if row.location in PLACES]
    n = data.draw(st.sampled_from(seen))
    field = data.draw(st.sampled_from(["u", "v", "known_at"]))
    row = rows[n]
    if field == "known_at":
        known = {one.known_at for one in rows if one[:2] == row[:2]}
        other: Any = row.known_at + timedelta(microseconds=3)
        assert other not in known
    else:
        was = getattr(row, field)
        other = 99.0 if was is None else data.draw(st.sampled_from([None, was + 0.5]))
    changed = [*rows[:n], row._replace(**{field: other}), *rows[n + 1 :]]
    assert frames_of(changed).digest() != frames_of(rows).digest()


def test_the_digest_does_not_depend_on_the_memory_layout() -> None:
    frames = frames_of(ROWS)
    copied = Frames(
        frames.times.copy(),
        frames.step,
        np.asfortranarray(frames.first),
        np.asfortranarray(frames.mask),
        np.asfortranarray(frames.known_at),
        frames.revisions,
    )
    assert copied.digest() == frames.digest()
    assert len(frames.digest()) == 64


def test_frames_may_be_hourly() -> None:
    rows = [Row(START + n * HOUR, "A", START + n * HOUR, float(n), 0.0) for n in (0, 5)]
    frames = build_frames(table_of(rows), locations=PLACES, variables=CHANNELS, step=HOUR)
    assert frames.first.shape == (6, 2, 2)
    assert frames.first[5, 0, 0] == 5


def naive(rows: list[Row]) -> tuple[dict[tuple[datetime, str], Row], list[Row]]:
    """The first known row of each key, and all others by time, place and known_at."""
    first: dict[tuple[datetime, str], Row] = {}
    others = []
    for row in sorted((row for row in rows if row.location in PLACES), key=lambda one: one.known_at):
        if row[:2] in first:
            others.append(row)
        else:
            first[row[:2]] = row
    return first, sorted(others)


@given(some_rows(max_size=30), st.lists(st.integers(-1, 7), max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_frames_are_the_same_built_at_once_in_parts_or_naively(
    rows: list[Row], cuts: list[int], random: object
) -> None:
    random.shuffle(rows)  # type: ignore[attr-defined]
    whole, pieces = frames_of(rows), mapped_frames_of(rows, [START + cut * DAY for cut in cuts])
    assert pieces.digest() == whole.digest()
    assert pieces.times.tolist() == whole.times.tolist()
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(pieces.arrays()[name], array, err_msg=name)
    np.testing.assert_array_equal(pieces.complete_at, whole.complete_at)

    first, others = naive(rows)
    times = [as_datetime(time) for time in whole.times]
    assert (times[0], times[-1]) == (min(key[0] for key in first), max(key[0] for key in first))
    for n, time in enumerate(times):
        known = [first[time, place].known_at for place in PLACES if (time, place) in first]
        assert whole.complete_at[n] == (micros(max(known)) if known else np.iinfo(np.int64).min)
        for m, place in enumerate(PLACES):
            row = first.get((time, place))
            assert whole.known_at[n, m] == (NEVER if row is None else micros(row.known_at))
            values = [None if row is None else row.u, None if row is None else row.v]
            assert whole.mask[n, :, m].tolist() == [value is not None for value in values]
            assert whole.first[n, :, m].tolist() == [value or 0 for value in values]
    changed = whole.revisions
    expected = [(times.index(row.valid_time), PLACES.index(row.location), micros(row.known_at)) for row in others]
    found = zip(changed.time_index, changed.location_index, changed.known_at, strict=True)
    assert [tuple(map(int, one)) for one in found] == expected
    nans = [[np.nan if value is None else value for value in (row.u, row.v)] for row in others]
    np.testing.assert_array_equal(changed.values, np.array(nans, np.float32).reshape(-1, 2))


def complete(days: int = 5) -> list[Row]:
    return [
        Row(START + n * DAY, place, START + (n + 1) * DAY, 10.0 * n + m, None if n == 2 else -float(n))
        for n in range(days)
        for m, place in enumerate(PLACES)
    ]


def test_sorted_complete_rows_give_the_same_frames_by_the_fast_path() -> None:
    rows = complete()
    short, long = frames_of(rows), frames_of([*rows[1:], rows[0]])
    assert short.digest() == long.digest()
    assert short.first[:, 0].tolist() == [[10.0 * n, 10.0 * n + 1] for n in range(5)]
    assert short.mask[:, 1].all(axis=1).tolist() == [True, True, False, True, True]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: [rows[1], rows[0], *rows[2:]],  # as many rows as cells, places exchanged
        lambda rows: [*rows[:-1], rows[0]._replace(known_at=START + 9 * DAY, u=99.0)],  # a cell missing, one twice
    ],
)
def test_the_fast_path_is_not_used_for_other_rows(spoil: object) -> None:
    rows = spoil(complete())  # type: ignore[operator]
    first, others = naive(rows)
    frames = frames_of(rows)
    assert len(frames.revisions.time_index) == len(others)
    for (time, place), row in first.items():
        assert frames.first[frames.index(time), 0, PLACES.index(place)] == row.u


def test_locations_may_be_dictionary_encoded() -> None:
    rows = [*ROWS, *complete(2)]
    plain = table_of(rows)
    at = plain.schema.get_field_index("location")
    whole = plain.set_column(at, "location", plain["location"].combine_chunks().dictionary_encode())
    # Chunks with other codes for the same names, and a null.
    pieces = pa.concat_tables(
        piece.set_column(at, "location", piece["location"].combine_chunks().dictionary_encode())
        for piece in (plain.slice(0, 3), plain.slice(3))
    )
    nameless = pa.table(
        [
            column.slice(0, 1) if name != "location" else pa.array([None], pa.dictionary(pa.int32(), pa.string()))
            for name, column in zip(plain.column_names, plain.columns, strict=True)
        ],
        names=plain.column_names,
    )
    for table in (whole, pieces, pa.concat_tables([pieces, nameless.cast(pieces.schema)])):
        frames = build_frames(table, locations=PLACES, variables=CHANNELS, step=DAY)
        assert frames.digest() == frames_of(rows).digest()


def test_values_that_are_not_finite_are_missing() -> None:
    frames = frames_of([Row(START, "A", START, float("inf"), float("nan")), Row(START, "B", START, 1.0, -float("inf"))])
    assert frames.mask.tolist() == [[[False, True], [False, False]]]
    assert frames.first.tolist() == [[[0, 1], [0, 0]]]


@pytest.mark.parametrize(
    ("stray", "near"), [(datetime(1, 1, 1, tzinfo=START.tzinfo), START), (START.replace(year=9000), START + 40 * HOUR)]
)
def test_a_stray_valid_time_is_refused(stray: datetime, near: datetime) -> None:
    rows = [Row(START + n * HOUR, "A", START + n * HOUR, 1.0, 1.0) for n in range(41)]
    rows.append(Row(stray, "B", START, 1.0, 1.0))
    locations = tuple(f"S{n}" for n in range(10)) + PLACES
    with pytest.raises(StoreError) as caught:
        build_frames(table_of(rows), locations=locations, variables=CHANNELS, step=HOUR)
    expected = f"the valid time {stray:%Y-%m-%d %H:%M} UTC is so far from the next, {near:%Y-%m-%d %H:%M} UTC"
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)
