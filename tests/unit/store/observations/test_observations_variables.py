"""Changes of a product's variables and units."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest

from pipeline.errors import ConfigError
from pipeline.store.observations import AppendResult, Observations

DAY, DELAY, TICK = timedelta(days=1), timedelta(hours=6), timedelta(microseconds=1)
T0 = datetime(2001, 1, 10, tzinfo=UTC)
UNITS = {"wind": "m s-1", "gust": "m s-1", "temperature": "K"}


def make_store(folder: Path, *names: str, mode: Literal["live", "archive"] = "archive", **units: str) -> Observations:
    chosen = tuple((UNITS | units)[name] for name in names)
    return Observations(folder / "o", names, delay=DELAY, mode=mode, units=chosen)


def put(store: Observations, at: datetime, *cells: dict[str, Any], **how: bool) -> AppendResult:
    schema = pa.schema([field for field in store.table.schema if field.name not in ("known_at", "payload", "month")])
    rows = pa.Table.from_pylist([{"valid_time": T0, "location": "A"} | row for row in cells], schema=schema)
    return store.append(rows, at=at, payload="p", **how)


def read_values(store: Observations) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in store.read().select(["known_at", *store.variables]).to_pylist()]


def test_an_added_variable_is_missing_in_old_rows(tmp_path: Path) -> None:
    put(make_store(tmp_path, "wind"), T0, {"wind": 1.0})
    both = make_store(tmp_path, "wind", "gust")
    assert read_values(both) == [(T0 + DELAY, 1.0, None)]
    assert put(both, T0, {"valid_time": T0 + DAY, "wind": 2.0, "gust": 3.0}) == AppendResult(1, 0, 0)
    assert read_values(both) == [(T0 + DELAY, 1.0, None), (T0 + DAY + DELAY, 2.0, 3.0)]
    assert read_values(make_store(tmp_path, "wind")) == [(T0 + DELAY, 1.0), (T0 + DAY + DELAY, 2.0)]


def test_loaded_history_of_an_added_variable_was_known_when_due(tmp_path: Path) -> None:
    for mode in ("archive", "live"):
        folder = tmp_path / mode
        put(make_store(folder, "wind", mode=mode), T0 + DAY, {"wind": 1.0})
        both = make_store(folder, "wind", "gust", mode=mode)
        assert put(both, T0 + 9 * DAY, {"wind": 1.0, "gust": 3.0}, history=True) == AppendResult(0, 1, 0)
        assert read_values(both) == [(T0 + DELAY, 1.0, 3.0)]
        assert put(both, T0 + 9 * DAY, {"wind": 1.0, "gust": 3.0}, history=True) == AppendResult(0, 0, 1)


def test_values_of_an_added_variable_become_known_when_received(tmp_path: Path) -> None:
    put(make_store(tmp_path, "wind", mode="live"), T0 + DAY, {"wind": 1.0})
    both = make_store(tmp_path, "wind", "gust", mode="live")
    assert put(both, T0 + 9 * DAY, {"wind": 1.0, "gust": 3.0}) == AppendResult(0, 1, 0)
    assert read_values(both) == [(T0 + DELAY, 1.0, None), (T0 + 9 * DAY, 1.0, 3.0)]


@pytest.mark.parametrize("mode", ["archive", "live"])
def test_missing_values_are_filled_and_nothing_is_overridden(tmp_path: Path, mode: Literal["archive", "live"]) -> None:
    put(make_store(tmp_path, "wind", mode=mode), T0 + DAY, {"wind": 1.0})
    both = make_store(tmp_path, "wind", "gust", mode=mode)
    rows: list[dict[str, Any]] = [{"wind": 2.0, "gust": 3.0}, {"valid_time": T0 + DAY, "wind": 4.0}]
    assert put(both, T0 + 9 * DAY, *rows, history=True, only_missing=True) == AppendResult(1, 1, 0)
    expected = [(T0 + DELAY, 1.0, 3.0), (T0 + DAY + DELAY if mode == "archive" else T0 + 9 * DAY, 4.0, None)]
    assert read_values(both) == expected
    assert put(both, T0 + 9 * DAY, *rows, history=True, only_missing=True) == AppendResult(0, 0, 2)


def test_a_row_can_fill_history_of_one_variable_and_correct_another(tmp_path: Path) -> None:
    put(make_store(tmp_path, "wind", mode="live"), T0 + DAY, {"wind": 1.0})
    both = make_store(tmp_path, "wind", "gust", mode="live")
    assert put(both, T0 + 9 * DAY, {"wind": 2.0, "gust": 3.0}, history=True) == AppendResult(0, 1, 0)
    assert read_values(both) == [(T0 + DELAY, 1.0, 3.0), (T0 + 9 * DAY, 2.0, 3.0)]


def test_a_removed_variable_is_kept_but_not_read(tmp_path: Path) -> None:
    both = make_store(tmp_path, "wind", "gust")
    put(both, T0, {"wind": 1.0, "gust": 2.0})
    one = make_store(tmp_path, "gust")
    assert read_values(one) == [(T0 + DELAY, 2.0)]
    assert put(one, T0, {"gust": 2.0}, {"valid_time": T0 + DAY, "gust": 5.0}) == AppendResult(1, 0, 1)
    assert read_values(both) == [(T0 + DELAY, 1.0, 2.0), (T0 + DAY + DELAY, None, 5.0)]


def test_a_variable_that_is_added_back_has_its_old_values(tmp_path: Path) -> None:
    both = make_store(tmp_path, "wind", "gust")
    put(both, T0, {"wind": 1.0, "gust": 2.0})
    put(make_store(tmp_path, "gust"), T0, {"gust": 3.0})
    assert read_values(both) == [(T0 + DELAY, 1.0, 2.0), (T0 + DELAY + TICK, 1.0, 3.0)]
    assert put(both, T0, {"wind": 1.0, "gust": 3.0}) == AppendResult(0, 0, 1)


def test_the_order_of_the_variables_does_not_matter(tmp_path: Path) -> None:
    put(make_store(tmp_path, "wind", "gust"), T0, {"wind": 1.0, "gust": 2.0})
    turned = make_store(tmp_path, "gust", "wind")
    assert read_values(turned) == [(T0 + DELAY, 2.0, 1.0)]
    assert put(turned, T0, {"wind": 1.0, "gust": 2.0}) == AppendResult(0, 0, 1)
    assert turned.digest() == make_store(tmp_path, "wind", "gust").digest()


def assert_refused(store: Observations, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        store.read()
    with pytest.raises(ConfigError, match=message):
        put(store, T0 + DAY, dict.fromkeys(store.variables, 9.0))
    with pytest.raises(ConfigError, match=message):
        store.digest()


def test_another_unit_of_a_variable_is_refused(tmp_path: Path) -> None:
    put(make_store(tmp_path, "wind"), T0, {"wind": 1.0})
    put(make_store(tmp_path, "wind", "gust"), T0, {"wind": 1.0, "gust": 2.0})
    message = r"the store has {} in 'm s-1', the product in '{}'; give the product another name"
    assert_refused(make_store(tmp_path, "wind", wind="knot"), message.format("wind", "knot"))
    assert_refused(make_store(tmp_path, "wind", "gust", gust="km h-1"), message.format("gust", "km h-1"))
    assert_refused(make_store(tmp_path, "temperature", "gust", gust="1"), message.format("gust", "1"))
    assert read_values(make_store(tmp_path, "wind", "gust")) == [(T0 + DELAY, 1.0, 2.0)]
    assert read_values(make_store(tmp_path, "gust")) == [(T0 + DELAY, 2.0)]


def test_another_unit_of_a_removed_variable_is_refused(tmp_path: Path) -> None:
    put(make_store(tmp_path, "wind", "gust"), T0, {"wind": 1.0, "gust": 2.0})
    put(make_store(tmp_path, "wind"), T0, {"wind": 3.0})
    assert_refused(make_store(tmp_path, "wind", "gust", gust="knot"), "the store has gust in 'm s-1'")


def overtake(monkeypatch: pytest.MonkeyPatch, mine: Observations, other: Observations) -> None:
    """Let another process add the variable right after this one has checked the units."""
    check_units = Observations._check_units

    def overtaken(store: Observations) -> None:
        check_units(store)
        if store is mine:
            monkeypatch.undo()
            put(other, T0, {"gust": 2.0})

    monkeypatch.setattr(Observations, "_check_units", overtaken)


def test_a_unit_that_another_process_adds_first_is_noticed_before_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(make_store(tmp_path, "wind"), T0, {"wind": 1.0})
    mine, other = make_store(tmp_path, "wind", "gust", gust="knot"), make_store(tmp_path, "wind", "gust")
    overtake(monkeypatch, mine, other)
    with pytest.raises(ConfigError, match="the store has gust in 'm s-1', the product in 'knot'"):
        put(mine, T0, {"gust": 9.0})
    assert read_values(other) == [(T0 + DELAY, 1.0, 2.0)]


def test_a_process_that_adds_a_variable_sees_rows_of_one_that_did_so_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(make_store(tmp_path, "wind"), T0, {"wind": 1.0})
    mine, other = make_store(tmp_path, "wind", "gust"), make_store(tmp_path, "wind", "gust")
    overtake(monkeypatch, mine, other)
    assert put(mine, T0, {"gust": 2.0}) == AppendResult(0, 0, 1)
    assert read_values(mine) == [(T0 + DELAY, 1.0, 2.0)]
    assert mine.table.read().num_rows == 2
