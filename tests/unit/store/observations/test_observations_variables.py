"""What happens to a store when the variables of its product change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest

from pipeline.errors import ConfigError
from pipeline.store.observations import Appended, Observations

DAY, DELAY, TICK = timedelta(days=1), timedelta(hours=6), timedelta(microseconds=1)
T0 = datetime(2001, 1, 10, tzinfo=UTC)
UNITS = {"wind": "m s-1", "gust": "m s-1", "temperature": "K"}


def store(folder: Path, *names: str, mode: Literal["live", "archive"] = "archive", **units: str) -> Observations:
    told = tuple((UNITS | units)[name] for name in names)
    return Observations(folder / "o", names, delay=DELAY, mode=mode, units=told)


def put(kept: Observations, at: datetime, *cells: dict[str, Any], history: bool = False) -> Appended:
    schema = pa.schema([field for field in kept.table.schema if field.name not in ("known_at", "payload", "month")])
    rows = pa.Table.from_pylist([{"valid_time": T0, "location": "A"} | row for row in cells], schema=schema)
    return kept.append(rows, at=at, payload="p", history=history)


def told(kept: Observations) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in kept.read().select(["known_at", *kept.variables]).to_pylist()]


def test_an_added_variable_is_a_column_that_old_rows_have_no_value_in(tmp_path: Path) -> None:
    put(store(tmp_path, "wind"), T0, {"wind": 1.0})
    both = store(tmp_path, "wind", "gust")
    assert told(both) == [(T0 + DELAY, 1.0, None)]
    assert put(both, T0, {"valid_time": T0 + DAY, "wind": 2.0, "gust": 3.0}) == Appended(1, 0, 0)
    assert told(both) == [(T0 + DELAY, 1.0, None), (T0 + DAY + DELAY, 2.0, 3.0)]
    assert told(store(tmp_path, "wind")) == [(T0 + DELAY, 1.0), (T0 + DAY + DELAY, 2.0)]


def test_the_history_of_an_added_variable_was_known_in_its_time(tmp_path: Path) -> None:
    for mode in ("archive", "live"):
        folder = tmp_path / mode
        put(store(folder, "wind", mode=mode), T0 + DAY, {"wind": 1.0})
        both = store(folder, "wind", "gust", mode=mode)
        assert put(both, T0 + 9 * DAY, {"wind": 1.0, "gust": 3.0}, history=True) == Appended(0, 1, 0)
        assert told(both) == [(T0 + DELAY, 1.0, 3.0)]
        assert put(both, T0 + 9 * DAY, {"wind": 1.0, "gust": 3.0}, history=True) == Appended(0, 0, 1)


def test_a_live_feed_learns_an_added_variable_when_it_comes(tmp_path: Path) -> None:
    put(store(tmp_path, "wind", mode="live"), T0 + DAY, {"wind": 1.0})
    both = store(tmp_path, "wind", "gust", mode="live")
    assert put(both, T0 + 9 * DAY, {"wind": 1.0, "gust": 3.0}) == Appended(0, 1, 0)
    assert told(both) == [(T0 + DELAY, 1.0, None), (T0 + 9 * DAY, 1.0, 3.0)]


def test_a_row_can_fill_one_variable_in_its_time_and_correct_another_now(tmp_path: Path) -> None:
    put(store(tmp_path, "wind", mode="live"), T0 + DAY, {"wind": 1.0})
    both = store(tmp_path, "wind", "gust", mode="live")
    assert put(both, T0 + 9 * DAY, {"wind": 2.0, "gust": 3.0}, history=True) == Appended(0, 1, 0)
    assert told(both) == [(T0 + DELAY, 1.0, 3.0), (T0 + 9 * DAY, 2.0, 3.0)]


def test_a_removed_variable_stays_and_is_not_read(tmp_path: Path) -> None:
    both = store(tmp_path, "wind", "gust")
    put(both, T0, {"wind": 1.0, "gust": 2.0})
    one = store(tmp_path, "gust")
    assert told(one) == [(T0 + DELAY, 2.0)]
    assert put(one, T0, {"gust": 2.0}, {"valid_time": T0 + DAY, "gust": 5.0}) == Appended(1, 0, 1)
    assert told(both) == [(T0 + DELAY, 1.0, 2.0), (T0 + DAY + DELAY, None, 5.0)]


def test_a_variable_that_comes_back_finds_what_was_known_of_it(tmp_path: Path) -> None:
    both = store(tmp_path, "wind", "gust")
    put(both, T0, {"wind": 1.0, "gust": 2.0})
    put(store(tmp_path, "gust"), T0, {"gust": 3.0})
    assert told(both) == [(T0 + DELAY, 1.0, 2.0), (T0 + DELAY + TICK, 1.0, 3.0)]
    assert put(both, T0, {"wind": 1.0, "gust": 3.0}) == Appended(0, 0, 1)


def test_the_order_of_the_variables_does_not_matter(tmp_path: Path) -> None:
    put(store(tmp_path, "wind", "gust"), T0, {"wind": 1.0, "gust": 2.0})
    turned = store(tmp_path, "gust", "wind")
    assert told(turned) == [(T0 + DELAY, 2.0, 1.0)]
    assert put(turned, T0, {"wind": 1.0, "gust": 2.0}) == Appended(0, 0, 1)
    assert turned.digest() == store(tmp_path, "wind", "gust").digest()


def refused(kept: Observations, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        kept.read()
    with pytest.raises(ConfigError, match=words):
        put(kept, T0 + DAY, dict.fromkeys(kept.variables, 9.0))
    with pytest.raises(ConfigError, match=words):
        kept.digest()


def test_another_unit_is_refused_for_first_and_for_added_variables(tmp_path: Path) -> None:
    put(store(tmp_path, "wind"), T0, {"wind": 1.0})
    put(store(tmp_path, "wind", "gust"), T0, {"wind": 1.0, "gust": 2.0})
    words = r"the store keeps {} in 'm s-1', the product says '{}'; give the product another name"
    refused(store(tmp_path, "wind", wind="knot"), words.format("wind", "knot"))
    refused(store(tmp_path, "wind", "gust", gust="km h-1"), words.format("gust", "km h-1"))
    refused(store(tmp_path, "temperature", "gust", gust="1"), words.format("gust", "1"))
    assert told(store(tmp_path, "wind", "gust")) == [(T0 + DELAY, 1.0, 2.0)]
    assert told(store(tmp_path, "gust")) == [(T0 + DELAY, 2.0)]


def test_the_unit_of_a_removed_variable_is_remembered(tmp_path: Path) -> None:
    put(store(tmp_path, "wind", "gust"), T0, {"wind": 1.0, "gust": 2.0})
    put(store(tmp_path, "wind"), T0, {"wind": 3.0})
    refused(store(tmp_path, "wind", "gust", gust="knot"), "the store keeps gust in 'm s-1'")


def overtake(monkeypatch: pytest.MonkeyPatch, mine: Observations, other: Observations) -> None:
    """Let another process add the variable right after this one has looked at the units, before it adds it itself."""
    look = Observations._require_units

    def looked(kept: Observations) -> None:
        look(kept)
        if kept is mine:
            monkeypatch.undo()
            put(other, T0, {"gust": 2.0})

    monkeypatch.setattr(Observations, "_require_units", looked)


def test_a_unit_that_another_process_added_first_is_noticed_before_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store(tmp_path, "wind"), T0, {"wind": 1.0})
    mine, other = store(tmp_path, "wind", "gust", gust="knot"), store(tmp_path, "wind", "gust")
    overtake(monkeypatch, mine, other)
    with pytest.raises(ConfigError, match="the store keeps gust in 'm s-1', the product says 'knot'"):
        put(mine, T0, {"gust": 9.0})
    assert told(other) == [(T0 + DELAY, 1.0, 2.0)]


def test_of_two_processes_that_add_a_variable_at_once_each_sees_the_rows_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # F3
    put(store(tmp_path, "wind"), T0, {"wind": 1.0})
    mine, other = store(tmp_path, "wind", "gust"), store(tmp_path, "wind", "gust")
    overtake(monkeypatch, mine, other)
    assert put(mine, T0, {"gust": 2.0}) == Appended(0, 0, 1)
    assert told(mine) == [(T0 + DELAY, 1.0, 2.0)]
    assert mine.table.read().num_rows == 2
