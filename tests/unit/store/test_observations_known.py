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


@pytest.fixture(params=["wall", "record"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Observations:
    return Observations(tmp_path / "o", ("u", "v"), delay=HOUR, clock=request.param)


def say(store: Observations, *rows: tuple[int, float | None, float | None], place: str = "A") -> Appended:
    """Append rows of one key, known some hours after T0."""
    told = [{"valid_time": T0, "location": place, "known_at": T0 + hour * HOUR, "u": u, "v": v} for hour, u, v in rows]
    return store.append(pa.Table.from_pylist(told, schema=SCHEMA), at=NOW, payload="p")


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


def test_of_two_values_for_one_instant_the_later_one_took_effect_right_after(store: Observations) -> None:
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
    later = 1 + TICK / HOUR if store.clock == "record" else 9
    assert told(store) == [(1, 1.0, None), (later, 2.0, None)]
    say(store, (20, None, 3.0))
    assert told(store)[2:] == [(20, 2.0, 3.0)]
