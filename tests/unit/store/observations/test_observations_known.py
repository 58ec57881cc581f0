"""Observations with their own `known_at`, in any order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.errors import ContractError
from pipeline.store.observations import AppendResult, Observations

DAY, HOUR, TICK = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
T0 = datetime(2001, 1, 10, tzinfo=UTC)
NOW = datetime(2009, 1, 1, tzinfo=UTC)
TIME = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [("valid_time", TIME), ("location", pa.string()), ("known_at", TIME), ("u", pa.float64()), ("v", pa.float64())]
)


@pytest.fixture(params=["live", "archive"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Observations:
    return Observations(tmp_path / "o", ("u", "v"), delay=HOUR, mode=request.param)


@pytest.fixture
def live(tmp_path: Path) -> Observations:
    """A live feed whose store was created ten hours after T0, with another key."""
    live = Observations(tmp_path / "live", ("u", "v"), delay=HOUR, mode="live")
    append(live, (1, 9.0, 9.0), location="B", at=T0 + 10 * HOUR)
    return live


def append(
    store: Observations,
    *rows: tuple[int, float | None, float | None],
    location: str = "A",
    at: datetime = NOW,
    history: bool = False,
    only_missing: bool = False,
) -> AppendResult:
    """Append rows of one key, known some hours after T0."""
    given = [
        {"valid_time": T0, "location": location, "known_at": T0 + hour * HOUR, "u": u, "v": v} for hour, u, v in rows
    ]
    table = pa.Table.from_pylist(given, schema=SCHEMA)
    return store.append(table, at=at, payload="p", history=history, only_missing=only_missing)


def read_values(store: Observations, known_by: datetime | None = None) -> list[tuple[Any, ...]]:
    rows = store.read(known_by=known_by).to_pylist()
    return [((row["known_at"] - T0) / HOUR, row["u"], row["v"]) for row in rows if row["location"] == "A"]


def test_rows_became_known_at_their_known_at(store: Observations) -> None:
    assert append(store, (5, 1.0, 1.0), (-30, 2.0, 2.0)) == AppendResult(1, 1, 0)
    assert read_values(store) == [(-30, 2.0, 2.0), (5, 1.0, 1.0)]
    assert read_values(store, T0 + 5 * HOUR - TICK) == [(-30, 2.0, 2.0)]


def test_repeated_rows_add_nothing(store: Observations) -> None:
    rows = ((1, 1.0, None), (2, 2.0, 2.0), (3, None, None))
    append(store, *rows)
    version = store.table.version
    assert append(store, *rows[::-1]) == AppendResult(0, 0, 3)
    assert append(store, *rows, *rows) == AppendResult(0, 0, 6)
    assert store.table.version == version


def test_a_row_known_between_two_others_is_placed_between_them(store: Observations) -> None:
    append(store, (1, 1.0, 1.0), (5, 5.0, 5.0))
    assert append(store, (3, 3.0, 3.0)) == AppendResult(0, 1, 0)
    assert read_values(store) == [(1, 1.0, 1.0), (3, 3.0, 3.0), (5, 5.0, 5.0)]


def test_a_row_known_before_all_others_is_a_revision(store: Observations) -> None:
    append(store, (5, 5.0, 5.0))
    assert append(store, (1, 1.0, 1.0)) == AppendResult(0, 1, 0)
    assert read_values(store, T0 + 4 * HOUR) == [(1, 1.0, 1.0)]


def test_a_row_that_repeats_known_values_is_not_a_revision(store: Observations) -> None:
    assert append(store, (1, 1.0, 1.0)) == AppendResult(1, 0, 0)
    assert append(store, (2, 1.0, 1.0), (3, None, 1.0)) == AppendResult(0, 0, 2)
    assert read_values(store) == [(1, 1.0, 1.0)]


def test_a_repetition_counts_once_another_value_arrives_in_between(store: Observations) -> None:
    # Runs of a weather model, of which the second arrives last: from the third on, the values of the third hold.
    append(store, (1, 1.0, 1.0))
    append(store, (3, 1.0, 1.0))
    assert append(store, (2, 2.0, 2.0)) == AppendResult(0, 1, 0)
    assert read_values(store) == [(1, 1.0, 1.0), (2, 2.0, 2.0), (3, 1.0, 1.0)]


def test_an_older_value_fills_gaps_of_later_rows(store: Observations) -> None:
    append(store, (1, 1.0, None), (3, None, 3.0))
    assert read_values(store) == [(1, 1.0, None), (3, 1.0, 3.0)]
    assert append(store, (2, 2.0, None)) == AppendResult(0, 1, 0)
    assert read_values(store) == [(1, 1.0, None), (2, 2.0, None), (3, 2.0, 3.0)]


def test_variables_of_one_instant_may_arrive_separately(store: Observations) -> None:
    append(store, (1, 1.0, None))
    assert append(store, (1, None, 2.0)) == AppendResult(0, 1, 0)
    assert read_values(store) == [(1, 1.0, 2.0)]
    assert append(store, (1, 1.0, 2.0), (1, None, 2.0)) == AppendResult(0, 0, 2)


@pytest.mark.parametrize("store", ["archive"], indirect=True)
def test_in_an_archive_the_second_value_of_an_instant_takes_effect_right_after(store: Observations) -> None:
    append(store, (1, 1.0, 1.0))
    assert append(store, (1, 2.0, 1.0)) == AppendResult(0, 1, 0)
    assert append(store, (1, 3.0, 1.0)) == AppendResult(0, 1, 0)
    tick = TICK / HOUR
    expected = [(1, 1.0, 1.0), (1 + tick, 2.0, 1.0), (1 + 2 * tick, 3.0, 1.0)]
    assert read_values(store) == expected
    assert append(store, (1, 2.0, 1.0), (1, 3.0, 1.0), (1, 1.0, 1.0)) == AppendResult(0, 0, 3)  # all stored before
    assert read_values(store) == expected


def test_two_values_of_one_instant_in_one_payload_keep_their_order(store: Observations) -> None:
    assert append(store, (1, 2.0, 2.0), (1, 1.0, 1.0)) == AppendResult(1, 1, 0)
    assert read_values(store) == [(1, 2.0, 2.0), (1 + TICK / HOUR, 1.0, 1.0)]


def test_missing_values_are_filled_by_instant_and_nothing_is_overridden(store: Observations) -> None:
    append(store, (5, 1.0, None), (9, 3.0, 3.0))
    result = append(store, (5, 8.0, 2.0), (7, 2.0, 2.0), (9, 8.0, 8.0), (9, None, None), only_missing=True)
    assert (result.added, result.revised, result.unchanged) == (0, 2, 2)
    assert read_values(store) == [(5, 1.0, 2.0), (7, 2.0, 2.0), (9, 3.0, 3.0)]


def test_a_value_that_was_asserted_before_it_was_received_is_not_missing(live: Observations) -> None:
    append(live, (12, 1.0, 1.0), at=T0 + 20 * HOUR)
    assert append(live, (12, 8.0, 8.0), at=T0 + 30 * HOUR, only_missing=True) == AppendResult(0, 0, 1)
    assert sorted(live.stored_keys(T0, T0)["known_at"].to_pylist()) == [T0 + HOUR, T0 + 12 * HOUR]
    assert read_values(live) == [(20, 1.0, 1.0)]


def test_other_keys_are_not_affected(store: Observations) -> None:
    append(store, (1, 1.0, 1.0), location="A")
    assert append(store, (1, 2.0, 2.0), location="B") == AppendResult(1, 0, 0)
    assert read_values(store) == [(1, 1.0, 1.0)]


def test_a_row_without_known_at_among_dated_rows_is_refused(store: Observations) -> None:
    row = {"valid_time": T0, "location": "A", "known_at": None, "u": 1.0, "v": 1.0}
    with pytest.raises(ContractError, match="1 rows have no known_at"):
        store.append(pa.Table.from_pylist([row], schema=SCHEMA), at=NOW, payload="p")


def test_payloads_with_and_without_known_at_may_alternate(store: Observations) -> None:
    append(store, (1, 1.0, None))
    row = {"valid_time": T0, "location": "A", "u": 2.0, "v": None}
    plain = pa.Table.from_pylist([row], schema=SCHEMA).drop_columns("known_at")
    assert store.append(plain, at=T0 + 9 * HOUR, payload="q") == AppendResult(0, 1, 0)
    later = 1 + TICK / HOUR if store.mode == "archive" else 9
    assert read_values(store) == [(1, 1.0, None), (later, 2.0, None)]
    append(store, (20, None, 3.0))
    assert read_values(store)[2:] == [(20, 2.0, 3.0)]


def test_a_correction_90_days_later_does_not_change_the_past(store: Observations) -> None:
    append(store, (1, 1.0, 1.0))
    before = store.read(known_by=NOW + 90 * DAY - TICK)
    assert append(store, (1, 2.0, 1.0), at=NOW + 90 * DAY) == AppendResult(0, 1, 0)
    if store.mode == "archive":  # an archive has no ingest times
        assert read_values(store) == [(1, 1.0, 1.0), (1 + TICK / HOUR, 2.0, 1.0)]
        return
    assert store.read(known_by=NOW + 90 * DAY - TICK).equals(before)
    assert read_values(store) == [(1, 1.0, 1.0), ((NOW + 90 * DAY - T0) / HOUR, 2.0, 1.0)]
    assert append(store, (1, 2.0, 1.0), at=NOW + 91 * DAY) == AppendResult(0, 0, 1)


def test_a_replay_of_an_ingest_outage_sees_what_was_known_live(live: Observations) -> None:
    # Three runs of a model were published while nothing was ingested for a day.
    append(live, (12, 1.0, 1.0), at=T0 + 12 * HOUR)
    seen = {hour: read_values(live, T0 + hour * HOUR) for hour in range(12, 36)}
    assert append(live, (18, 2.0, 2.0), (24, 3.0, None), (30, 4.0, None), at=T0 + 36 * HOUR) == AppendResult(0, 2, 1)
    assert {hour: read_values(live, T0 + hour * HOUR) for hour in range(12, 36)} == seen
    assert read_values(live) == [(12, 1.0, 1.0), (36, 4.0, 2.0)]  # for each variable, the value asserted last
    assert append(live, (36, 5.0, 2.0), (40, 6.0, 2.0), at=T0 + 36 * HOUR) == AppendResult(0, 2, 0)
    assert read_values(live)[2:] == [(36 + TICK / HOUR, 5.0, 2.0), (40, 6.0, 2.0)]


def test_loaded_history_keeps_its_known_at_up_to_the_creation_of_the_store(live: Observations) -> None:
    rows = ((1, 1.0, 1.0), (10, 2.0, 2.0), (11, 3.0, 3.0))
    assert append(live, *rows, at=T0 + 99 * HOUR, history=True) == AppendResult(1, 2, 0)
    assert read_values(live) == [(1, 1.0, 1.0), (10, 2.0, 2.0), (99, 3.0, 3.0)]
    assert append(live, *rows, at=T0 + 200 * HOUR, history=True) == AppendResult(0, 0, 3)
    assert append(live, *rows, at=T0 + 300 * HOUR) == AppendResult(0, 0, 3)


def test_old_rows_are_news_unless_they_are_loaded_as_history(live: Observations) -> None:
    assert append(live, (1, 1.0, 1.0), (9, 2.0, 2.0), at=T0 + 99 * HOUR) == AppendResult(1, 0, 1)
    assert read_values(live) == [(99, 2.0, 2.0)]


def test_an_older_run_that_arrives_after_a_newer_one_adds_nothing(live: Observations) -> None:
    append(live, (20, 2.0, None), at=T0 + 21 * HOUR)
    assert append(live, (14, 1.0, None), at=T0 + 22 * HOUR) == AppendResult(0, 0, 1)
    assert append(live, (15, 1.0, 1.0), at=T0 + 23 * HOUR) == AppendResult(0, 1, 0)  # except for v
    assert append(live, (20, 3.0, None), at=T0 + 24 * HOUR) == AppendResult(0, 1, 0)  # a correction of the newer run
    assert read_values(live) == [(21, 2.0, None), (23, 2.0, 1.0), (24, 3.0, 1.0)]


def test_of_two_late_values_of_one_instant_in_one_payload_the_last_counts(live: Observations) -> None:
    assert append(live, (20, 1.0, 1.0), (20, 2.0, 2.0), at=T0 + 30 * HOUR) == AppendResult(1, 0, 1)
    assert read_values(live) == [(30, 2.0, 2.0)]


def test_a_known_at_in_the_future_is_kept(live: Observations) -> None:
    append(live, (40, 1.0, 1.0), at=T0 + 20 * HOUR)
    assert append(live, (40, 2.0, 1.0), at=T0 + 21 * HOUR) == AppendResult(0, 1, 0)  # after the value it corrects
    assert read_values(live) == [(40, 1.0, 1.0), (40 + TICK / HOUR, 2.0, 1.0)]


def test_a_table_without_the_asserted_at_column_is_read_and_extended(tmp_path: Path) -> None:
    append(Observations(tmp_path / "o", ("u", "v"), delay=HOUR, mode="archive"), (1, 1.0, 1.0), at=T0 + 10 * HOUR)
    store = Observations(tmp_path / "o", ("u", "v"), delay=HOUR, mode="live")  # a table without the column
    assert read_values(store) == [(1, 1.0, 1.0)]
    assert append(store, (1, 1.0, 1.0), (1, 2.0, 1.0), (20, 3.0, 1.0), at=T0 + 30 * HOUR) == AppendResult(0, 1, 2)
    assert read_values(store) == [(1, 1.0, 1.0), (30, 3.0, 1.0)]
