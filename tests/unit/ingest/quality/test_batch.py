from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import Product
from pipeline.config.quality import Quality
from pipeline.ingest.quality.batch import Batch, BatchWithHistory, recent_window
from pipeline.ingest.quality.contract import contract_of
from pipeline.locations import Locations
from tests.unit.ingest.conftest import MakeRows

NOW = datetime(2020, 1, 2, tzinfo=UTC)
SIX, SEVEN, EIGHT = (datetime(2020, 1, 1, hour, tzinfo=UTC) for hour in (6, 7, 8))
DAY = timedelta(days=1)
STEP = int(SIX.timestamp()) // 3600
"""The step of six o'clock."""

MakeBatch = Callable[..., Batch]
WindowOf = Callable[..., tuple[datetime, datetime] | None]


@pytest.fixture
def make(product: Product, locations: Locations, make_rows: MakeRows) -> MakeBatch:
    def make_batch(*rows: tuple[datetime | None, str | None, float, float]) -> Batch:
        return Batch.of(make_rows(*rows), contract_of(product.feed, locations, NOW))

    return make_batch


def test_rows_are_placed_by_location_then_step(make: MakeBatch) -> None:
    batch = make((SEVEN, "A", 1.0, 1.0), (SIX, "B", 2.0, 1.0), (SIX, "A", 3.0, 1.0))
    points = batch.points
    assert points.location.tolist() == [0, 0, 1]
    assert points.step.tolist() == [STEP, STEP + 1, STEP]
    assert points.row.tolist() == [2, 0, 1]


def test_what_has_no_place_is_left_out_and_the_last_of_a_key_stands(make: MakeBatch) -> None:
    batch = make(
        (None, "A", 1.0, 1.0),
        (SIX, None, 1.0, 1.0),
        (SIX, "nowhere", 1.0, 1.0),
        (SIX + timedelta(minutes=1), "A", 1.0, 1.0),
        (datetime(1, 1, 1, tzinfo=UTC), "A", 1.0, 1.0),
        (NOW + DAY, "A", 1.0, 1.0),
        (SIX, "A", 1.0, 1.0),
        (SIX, "A", 2.0, 1.0),
    )
    assert batch.points.row.tolist() == [7]
    assert len(batch) == 8


def test_equal_rows_become_one_also_where_they_have_no_place(make: MakeBatch) -> None:
    batch = make((None, "A", 1.0, 1.0), (SIX, "A", np.nan, 1.0), (None, "A", 1.0, 1.0), (SIX, "A", np.nan, 1.0))
    assert (len(batch), batch.collapsed) == (2, 2)


def test_series_hold_what_is_stored_and_the_batch_has_the_last_word(make: MakeBatch, make_rows: MakeRows) -> None:
    batch = make((SEVEN, "A", 5.0, 1.0), (EIGHT, "A", 99.0, 1.0))
    recent = make_rows((SEVEN, "A", 4.0, 1.0), (SIX, "A", 3.0, 1.0), (SIX, "gone", 8.0, 1.0))
    known = recent.append_column("known_at", pa.array([SEVEN, SEVEN, SEVEN], pa.timestamp("us", "UTC")))
    older = known.set_column(2, "wind_speed", pa.array([1.0, 1.0, 1.0]))
    older = older.set_column(4, "known_at", pa.array([SIX, SIX, SIX], pa.timestamp("us", "UTC")))
    beside = BatchWithHistory(batch, pa.concat_tables([known, older]))  # the older revisions come last
    series = beside.series("wind_speed")
    assert series.step.tolist() == [STEP, STEP + 1, STEP + 2]
    assert series.value[:2].tolist() == [3.0, 5.0]
    assert np.isnan(series.value[2])  # beyond its limits
    assert beside.row.tolist() == [-1, 0, 1]
    assert beside.new("wind_speed").step.tolist() == [STEP + 1, STEP + 2]
    assert beside.old("wind_speed").value.tolist() == [3.0, 4.0]


def test_a_variable_that_was_not_stored_yet_has_no_past(make: MakeBatch, make_rows: MakeRows) -> None:
    batch = make((SEVEN, "A", 5.0, 1.0))
    recent = make_rows((SIX, "A", 3.0, 1.0)).drop_columns("wind_speed")
    beside = BatchWithHistory(batch, recent)
    assert np.isnan(beside.series("wind_speed").value).tolist() == [True, False]
    assert beside.series("air_temperature").value.tolist() == [1.0, 1.0]


HOURS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ABC")), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HOURS)
def test_the_order_by_time_is_that_of_sorted_keys(make: MakeBatch, keys: list[tuple[int, str]]) -> None:
    batch = make(*((SIX + n * timedelta(hours=1), place, float(m), 1.0) for m, (n, place) in enumerate(keys)))
    ordered = batch.rows.take(pa.array(batch.by_time)).to_pylist()
    assert [(row["valid_time"], row["location"]) for row in ordered] == sorted(
        (row["valid_time"], row["location"]) for row in ordered
    )
    assert sorted(batch.by_time.tolist()) == list(range(len(batch)))


@pytest.fixture
def window(product: Product, locations: Locations, make_rows: MakeRows) -> WindowOf:
    def of(*times: datetime | None, memory: timedelta = 7 * DAY, places: int = 3) -> tuple[datetime, datetime] | None:
        feed = product.feed.model_copy(update={"quality": Quality(reference_period=memory)})
        many = Locations(("x",) * places, ("x",) * places, (0.0,) * places, (0.0,) * places)
        return recent_window(make_rows(*((time, "A", 1.0, 1.0) for time in times)), feed, many)

    return of


def test_a_batch_is_compared_with_the_weeks_before_it(window: WindowOf) -> None:
    assert window(SIX, SIX + DAY) == (SIX - 7 * DAY, SIX + DAY)


def test_the_window_of_a_long_batch_is_twice_the_memory_at_most(window: WindowOf) -> None:
    assert window(SIX, SIX + 365 * DAY) == (SIX + 351 * DAY, SIX + 365 * DAY)


def test_of_a_large_grid_a_million_rows_are_enough(window: WindowOf) -> None:
    assert window(SIX, places=100_000) == (SIX - timedelta(hours=10), SIX)
    assert window(SIX, places=1_000_000) == (SIX - timedelta(hours=8), SIX)


def test_without_time_or_memory_there_is_no_window(window: WindowOf) -> None:
    assert window(None) is None
    assert window(SIX, memory=timedelta(0)) is None
    first = datetime(1, 1, 1, tzinfo=UTC)
    assert window(first) == (first, first)
