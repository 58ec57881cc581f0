"""Rows that tell themselves when they became known, in whatever order they come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.errors import ContractError
from pipeline.store.observations import Appended, Observations

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
    """A live feed that began ten hours after T0, with another key."""
    live = Observations(tmp_path / "live", ("u", "v"), delay=HOUR, mode="live")
    say(live, (1, 9.0, 9.0), place="B", at=T0 + 10 * HOUR)
    return live


def say(
    store: Observations,
    *rows: tuple[int, float | None, float | None],
    place: str = "A",
    at: datetime = NOW,
    history: bool = False,
) -> Appended:
    """Append rows of one key, known some hours after T0."""
    told = [{"valid_time": T0, "location": place, "known_at": T0 + hour * HOUR, "u": u, "v": v} for hour, u, v in rows]
    return store.append(pa.Table.from_pylist(told, schema=SCHEMA), at=at, payload="p", history=history)


def told(store: Observations, known_by: datetime | None = None) -> list[tuple[Any, ...]]:
    rows = store.read(known_by=known_by).to_pylist()
    return [((row["known_at"] - T0) / HOUR, row["u"], row["v"]) for row in rows if row["location"] == "A"]


def test_each_row_became_known_when_it_says(store: Observations) -> None:
    assert say(store, (5, 1.0, 1.0), (-30, 2.0, 2.0)) == Appended(1, 1, 0)
    assert told(store) == [(-30, 2.0, 2.0), (5, 1.0, 1.0)]
    assert told(store, T0 + 5 * HOUR - TICK) == [(-30, 2.0, 2.0)]


def test_the_same_again_adds_nothing(store: Observations) -> None:
    rows = ((1, 1.0, None), (2, 2.0, 2.0), (3, None, None))
    say(store, *rows)
    version = store.table.version
    assert say(store, *rows[::-1]) == Appended(0, 0, 3)
    assert say(store, *rows, *rows) == Appended(0, 0, 6)
    assert store.table.version == version


def test_a_row_that_was_known_between_others_is_put_between_them(store: Observations) -> None:
    say(store, (1, 1.0, 1.0), (5, 5.0, 5.0))
    assert say(store, (3, 3.0, 3.0)) == Appended(0, 1, 0)
    assert told(store) == [(1, 1.0, 1.0), (3, 3.0, 3.0), (5, 5.0, 5.0)]


def test_what_was_said_before_all_others_is_a_revision_too(store: Observations) -> None:
    say(store, (5, 5.0, 5.0))
    assert say(store, (1, 1.0, 1.0)) == Appended(0, 1, 0)
    assert told(store, T0 + 4 * HOUR) == [(1, 1.0, 1.0)]


def test_a_row_that_repeats_what_was_known_is_no_revision(store: Observations) -> None:
    assert say(store, (1, 1.0, 1.0)) == Appended(1, 0, 0)
    assert say(store, (2, 1.0, 1.0), (3, None, 1.0)) == Appended(0, 0, 2)
    assert told(store) == [(1, 1.0, 1.0)]


def test_a_repetition_counts_when_another_value_comes_in_between_later(store: Observations) -> None:
    # Runs of a weather model: the second one arrives last. As of the third, what the third said holds.
    say(store, (1, 1.0, 1.0))
    say(store, (3, 1.0, 1.0))
    assert say(store, (2, 2.0, 2.0)) == Appended(0, 1, 0)
    assert told(store) == [(1, 1.0, 1.0), (2, 2.0, 2.0), (3, 1.0, 1.0)]


def test_an_older_value_fills_the_cells_that_later_rows_said_nothing_of(store: Observations) -> None:
    say(store, (1, 1.0, None), (3, None, 3.0))
    assert told(store) == [(1, 1.0, None), (3, 1.0, 3.0)]
    assert say(store, (2, 2.0, None)) == Appended(0, 1, 0)
    assert told(store) == [(1, 1.0, None), (2, 2.0, None), (3, 2.0, 3.0)]


def test_variables_of_one_instant_may_come_apart(store: Observations) -> None:
    say(store, (1, 1.0, None))
    assert say(store, (1, None, 2.0)) == Appended(0, 1, 0)
    assert told(store) == [(1, 1.0, 2.0)]
    assert say(store, (1, 1.0, 2.0), (1, None, 2.0)) == Appended(0, 0, 2)


@pytest.mark.parametrize("store", ["archive"], indirect=True)
def test_in_an_archive_the_later_of_two_values_for_one_instant_took_effect_right_after(store: Observations) -> None:
    # F13
    say(store, (1, 1.0, 1.0))
    assert say(store, (1, 2.0, 1.0)) == Appended(0, 1, 0)
    assert say(store, (1, 3.0, 1.0)) == Appended(0, 1, 0)
    tick = TICK / HOUR
    expected = [(1, 1.0, 1.0), (1 + tick, 2.0, 1.0), (1 + 2 * tick, 3.0, 1.0)]
    assert told(store) == expected
    assert say(store, (1, 2.0, 1.0), (1, 3.0, 1.0), (1, 1.0, 1.0)) == Appended(0, 0, 3)  # all said before
    assert told(store) == expected


def test_two_values_for_one_instant_in_one_payload_keep_their_order(store: Observations) -> None:
    assert say(store, (1, 2.0, 2.0), (1, 1.0, 1.0)) == Appended(1, 1, 0)
    assert told(store) == [(1, 2.0, 2.0), (1 + TICK / HOUR, 1.0, 1.0)]


def test_other_keys_are_left_alone(store: Observations) -> None:
    say(store, (1, 1.0, 1.0), place="A")
    assert say(store, (1, 2.0, 2.0), place="B") == Appended(1, 0, 0)
    assert told(store) == [(1, 1.0, 1.0)]


def test_a_row_without_known_at_is_refused_where_others_have_one(store: Observations) -> None:
    row = {"valid_time": T0, "location": "A", "known_at": None, "u": 1.0, "v": 1.0}
    with pytest.raises(ContractError, match="1 rows have no known_at"):
        store.append(pa.Table.from_pylist([row], schema=SCHEMA), at=NOW, payload="p")


def test_rows_with_and_without_known_at_may_follow_each_other(store: Observations) -> None:
    say(store, (1, 1.0, None))
    row = {"valid_time": T0, "location": "A", "u": 2.0, "v": None}
    plain = pa.Table.from_pylist([row], schema=SCHEMA).drop_columns("known_at")
    assert store.append(plain, at=T0 + 9 * HOUR, payload="q") == Appended(0, 1, 0)
    later = 1 + TICK / HOUR if store.mode == "archive" else 9
    assert told(store) == [(1, 1.0, None), (later, 2.0, None)]
    say(store, (20, None, 3.0))
    assert told(store)[2:] == [(20, 2.0, 3.0)]


def test_a_correction_that_is_fetched_90_days_later_leaves_the_past_as_it_was(store: Observations) -> None:
    # F15
    say(store, (1, 1.0, 1.0))
    before = store.read(known_by=NOW + 90 * DAY - TICK)
    assert say(store, (1, 2.0, 1.0), at=NOW + 90 * DAY) == Appended(0, 1, 0)
    if store.mode == "archive":  # an archive has no such past
        assert told(store) == [(1, 1.0, 1.0), (1 + TICK / HOUR, 2.0, 1.0)]
        return
    assert store.read(known_by=NOW + 90 * DAY - TICK).equals(before)
    assert told(store) == [(1, 1.0, 1.0), ((NOW + 90 * DAY - T0) / HOUR, 2.0, 1.0)]
    assert say(store, (1, 2.0, 1.0), at=NOW + 91 * DAY) == Appended(0, 0, 1)


def test_a_replay_of_an_outage_of_ours_sees_what_was_seen_live(live: Observations) -> None:
    # F15: three runs of a model were published while nothing was ingested for a day.
    say(live, (12, 1.0, 1.0), at=T0 + 12 * HOUR)
    seen = {hour: told(live, T0 + hour * HOUR) for hour in range(12, 36)}
    assert say(live, (18, 2.0, 2.0), (24, 3.0, None), (30, 4.0, None), at=T0 + 36 * HOUR) == Appended(0, 2, 1)
    assert {hour: told(live, T0 + hour * HOUR) for hour in range(12, 36)} == seen
    assert told(live) == [(12, 1.0, 1.0), (36, 4.0, 2.0)]  # cell by cell, what was said last
    assert say(live, (36, 5.0, 2.0), (40, 6.0, 2.0), at=T0 + 36 * HOUR) == Appended(0, 2, 0)
    assert told(live)[2:] == [(36 + TICK / HOUR, 5.0, 2.0), (40, 6.0, 2.0)]


def test_a_load_of_history_keeps_when_it_was_said_up_to_when_the_store_began(live: Observations) -> None:
    rows = ((1, 1.0, 1.0), (10, 2.0, 2.0), (11, 3.0, 3.0))
    assert say(live, *rows, at=T0 + 99 * HOUR, history=True) == Appended(1, 2, 0)
    assert told(live) == [(1, 1.0, 1.0), (10, 2.0, 2.0), (99, 3.0, 3.0)]
    assert say(live, *rows, at=T0 + 200 * HOUR, history=True) == Appended(0, 0, 3)
    assert say(live, *rows, at=T0 + 300 * HOUR) == Appended(0, 0, 3)


def test_the_same_without_the_word_history_is_news(live: Observations) -> None:
    assert say(live, (1, 1.0, 1.0), (9, 2.0, 2.0), at=T0 + 99 * HOUR) == Appended(1, 0, 1)
    assert told(live) == [(99, 2.0, 2.0)]


def test_an_older_run_that_comes_after_a_newer_one_says_nothing_new(live: Observations) -> None:
    say(live, (20, 2.0, None), at=T0 + 21 * HOUR)
    assert say(live, (14, 1.0, None), at=T0 + 22 * HOUR) == Appended(0, 0, 1)
    assert say(live, (15, 1.0, 1.0), at=T0 + 23 * HOUR) == Appended(0, 1, 0)  # but for a cell not known yet
    assert say(live, (20, 3.0, None), at=T0 + 24 * HOUR) == Appended(0, 1, 0)  # a correction of the newer one
    assert told(live) == [(21, 2.0, None), (23, 2.0, 1.0), (24, 3.0, 1.0)]


def test_two_late_values_for_one_instant_in_one_payload_the_last_counts(live: Observations) -> None:
    assert say(live, (20, 1.0, 1.0), (20, 2.0, 2.0), at=T0 + 30 * HOUR) == Appended(1, 0, 1)
    assert told(live) == [(30, 2.0, 2.0)]


def test_what_is_told_of_times_to_come_is_known_when_it_says(live: Observations) -> None:
    say(live, (40, 1.0, 1.0), at=T0 + 20 * HOUR)
    assert say(live, (40, 2.0, 1.0), at=T0 + 21 * HOUR) == Appended(0, 1, 0)  # not before what it corrects
    assert told(live) == [(40, 1.0, 1.0), (40 + TICK / HOUR, 2.0, 1.0)]


def test_a_store_from_before_instants_said_were_kept_is_read_and_added_to(tmp_path: Path) -> None:
    say(Observations(tmp_path / "o", ("u", "v"), delay=HOUR, mode="archive"), (1, 1.0, 1.0), at=T0 + 10 * HOUR)
    store = Observations(tmp_path / "o", ("u", "v"), delay=HOUR, mode="live")  # a table without the column
    assert told(store) == [(1, 1.0, 1.0)]
    assert say(store, (1, 1.0, 1.0), (1, 2.0, 1.0), (20, 3.0, 1.0), at=T0 + 30 * HOUR) == Appended(0, 1, 2)
    assert told(store) == [(1, 1.0, 1.0), (30, 3.0, 1.0)]
