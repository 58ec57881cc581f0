from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from pipeline.errors import ContractError, StoreError
from pipeline.ingest.feed import OpenFeed
from pipeline.store.observations import AppendResult, Observations, partitions
from pipeline.store.observations import table as observations
from pipeline.store.observations.merge import merge_undated
from tests.world import VARIABLE, fill, make_product, make_rows, make_settings, record_rows

Mode = Literal["live", "archive"]
Key = tuple[datetime, str]
Revisions = dict[Key, list[tuple[datetime, float | None]]]
Make = Callable[..., Observations]

DAY, HOUR, TICK = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
DELAY = 6 * HOUR
T0 = datetime(2001, 1, 10, tzinfo=UTC)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(mode: Mode = "live") -> Observations:
        return Observations(tmp_path / "observations", (VARIABLE,), delay=DELAY, mode=mode)

    return made


def put(
    store: Observations, at: datetime, *rows: tuple[datetime, str, float | None], payload: str = "p"
) -> AppendResult:
    return store.append(make_rows(*rows), at=at, payload=payload)


def revisions(store: Observations, known_by: datetime | None = None) -> Revisions:
    found: Revisions = {}
    for row in store.read(known_by=known_by).to_pylist():
        found.setdefault((row["valid_time"], row["location"]), []).append((row["known_at"], row[VARIABLE]))
    return found


def test_an_empty_store(make: Make) -> None:
    store = make()
    assert store.read().num_rows == 0
    assert store.newest() is None


def test_the_newest_time_and_the_count_are_read_from_the_log(make: Make) -> None:
    store = make()
    assert store.count() == 0
    newest = T0 + DAY + TICK
    put(store, T0, (T0 - 40 * DAY, "A", 1.0), (newest, "A", 1.0), (T0, "A", 1.0))
    put(store, T0 + DAY, (T0, "A", 2.0), (T0 - 300 * DAY, "B", 1.0))
    for file in Path(store.table.uri).rglob("*.parquet"):
        file.unlink()
    with pytest.raises(StoreError):
        store.read()
    assert store.newest() == newest
    assert store.count() == 5  # statements, with the changed value


def test_the_newest_time_is_read_from_data_where_the_log_has_no_bound(make: Make) -> None:
    store = make()
    put(store, T0, (T0 - 40 * DAY, "A", 1.0), (T0, "A", 1.0))
    put(store, T0, (T0 + 40 * DAY + TICK, "A", 1.0))
    assert store.newest() == T0 + 40 * DAY + TICK
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.store.delta.scan.digest_in_name", lambda name: None)  # as for files of other programs
        assert store.newest() == T0 + 40 * DAY + TICK


def test_appending_no_rows_changes_nothing(make: Make) -> None:
    store = make()
    assert put(store, T0) == AppendResult(0, 0, 0)
    assert store.read().num_rows == 0


def test_rows_are_read_by_time_location_and_known_at(make: Make) -> None:
    store = make()
    put(store, T0, (T0 - DAY, "B", 2.0), (T0 - 40 * DAY, "B", 1.0), (T0 - DAY, "A", 3.0), payload="first")
    put(store, T0 + DAY, (T0 - DAY, "A", 4.0), payload="second")
    assert store.read().column_names == ["valid_time", "location", "known_at", VARIABLE]
    rows = store.read().to_pylist()
    assert [(row["valid_time"], row["location"], row[VARIABLE]) for row in rows] == [
        (T0 - 40 * DAY, "B", 1.0),
        (T0 - DAY, "A", 3.0),
        (T0 - DAY, "A", 4.0),
        (T0 - DAY, "B", 2.0),
    ]


def test_each_row_has_its_payload_and_the_month_of_its_valid_time(make: Make) -> None:
    store = make()
    put(store, T0, (T0 - DAY, "A", 3.0), payload="first")
    put(store, T0 + DAY, (T0 - 40 * DAY, "A", 1.0), (T0 - DAY, "A", 4.0), payload="second")
    rows = store.table.read(columns=["month", "payload", VARIABLE]).to_pylist()
    assert sorted(tuple(row.values()) for row in rows) == [
        ("2000-12", "second", 1.0),
        ("2001-01", "first", 3.0),
        ("2001-01", "second", 4.0),
    ]


def test_repeated_rows_add_nothing(make: Make) -> None:
    store = make()
    given = ((T0, "A", 1.0), (T0, "B", None))
    assert put(store, T0, *given) == AppendResult(2, 0, 0)
    version = store.table.version
    assert put(store, T0 + DAY, *given) == AppendResult(0, 0, 2)
    assert put(store, T0 - DAY, *given, payload="another") == AppendResult(0, 0, 2)
    assert store.table.version == version


def test_history_became_known_after_the_delay(make: Make) -> None:
    store = make()
    put(store, T0, (T0 - 3 * DAY, "A", 1.0), (T0 - DELAY, "A", 2.0), (T0 - DELAY + TICK, "A", 3.0), (T0, "A", 4.0))
    assert revisions(store) == {
        (T0 - 3 * DAY, "A"): [(T0 - 3 * DAY + DELAY, 1.0)],
        (T0 - DELAY, "A"): [(T0, 2.0)],  # due exactly when the store was created: history
        (T0 - DELAY + TICK, "A"): [(T0, 3.0)],  # due a tick later: news
        (T0, "A"): [(T0, 4.0)],
    }


def test_later_loads_of_history_are_history_up_to_the_creation_of_the_store(make: Make) -> None:
    store = make()
    put(store, T0, (T0 - DAY, "A", 1.0))
    late = make_rows((T0 - 9 * DAY, "A", 2.0), (T0 - DELAY, "A", 4.0), (T0 + DAY, "A", 3.0))
    store.append(late, at=T0 + 5 * DAY, payload="p", history=True)
    assert revisions(store)[T0 - 9 * DAY, "A"] == [(T0 - 9 * DAY + DELAY, 2.0)]
    assert revisions(store)[T0 - DELAY, "A"] == [(T0, 4.0)]  # due exactly when the store was created
    assert revisions(store)[T0 + DAY, "A"] == [(T0 + 5 * DAY, 3.0)]  # due after that, and four days late


def test_a_late_row_was_not_known_before_it_arrived(make: Make) -> None:
    # A replay of the days in between must not see it.
    store = make()
    put(store, T0, (T0 - DAY, "A", 1.0))
    put(store, T0 + 5 * DAY, (T0 - 9 * DAY, "A", 2.0))
    assert revisions(store)[T0 - 9 * DAY, "A"] == [(T0 + 5 * DAY, 2.0)]


def test_a_changed_value_is_a_revision_known_from_its_ingest_on(make: Make) -> None:
    store = make()
    put(store, T0, (T0 - 9 * DAY, "A", 1.0), (T0, "A", 1.0))
    assert put(store, T0 + DAY, (T0 - 9 * DAY, "A", 2.0), (T0, "A", 1.0), (T0, "B", 5.0)) == AppendResult(1, 1, 1)
    assert revisions(store)[T0 - 9 * DAY, "A"] == [(T0 - 9 * DAY + DELAY, 1.0), (T0 + DAY, 2.0)]
    # As of an earlier instant nothing has changed.
    assert revisions(store, T0 + DAY - TICK)[T0 - 9 * DAY, "A"] == [(T0 - 9 * DAY + DELAY, 1.0)]


def test_a_value_that_changes_back_is_a_revision(make: Make) -> None:
    store = make()
    for day, value in enumerate((1.0, 2.0, 1.0)):
        put(store, T0 + day * DAY, (T0, "A", value))
    assert revisions(store) == {(T0, "A"): [(T0, 1.0), (T0 + DAY, 2.0), (T0 + 2 * DAY, 1.0)]}


@pytest.mark.parametrize("back", [timedelta(0), HOUR])
def test_a_revision_follows_the_value_it_revises_even_if_the_clock_went_back(make: Make, back: timedelta) -> None:
    store = make()
    put(store, T0, (T0, "A", 1.0))
    put(store, T0 - back, (T0, "A", 2.0))
    assert revisions(store) == {(T0, "A"): [(T0, 1.0), (T0 + TICK, 2.0)]}


def test_an_archive_is_all_history_and_corrections_follow_at_once(make: Make) -> None:
    store = make("archive")
    put(store, T0, (T0 - DAY, "A", 1.0), (T0 + 100 * DAY, "A", 1.0))
    put(store, T0 + DAY, (T0 - DAY, "A", 2.0), (T0 + 200 * DAY, "A", 1.0))
    put(store, T0 - DAY, (T0 - DAY, "A", 3.0))
    due = T0 - DAY + DELAY
    assert revisions(store) == {
        (T0 - DAY, "A"): [(due, 1.0), (due + TICK, 2.0), (due + 2 * TICK, 3.0)],
        (T0 + 100 * DAY, "A"): [(T0 + 100 * DAY + DELAY, 1.0)],
        (T0 + 200 * DAY, "A"): [(T0 + 200 * DAY + DELAY, 1.0)],
    }


@pytest.mark.parametrize(
    ("before", "after", "counts"),
    [
        (None, None, AppendResult(0, 0, 1)),
        (float("nan"), None, AppendResult(0, 0, 1)),
        (None, 1.0, AppendResult(0, 1, 0)),
        (1.0, None, AppendResult(0, 0, 1)),  # a missing value changes nothing
        (0.0, -0.0, AppendResult(0, 0, 1)),
        (1.0, 1.0 + 2**-52, AppendResult(0, 1, 0)),
    ],
)
def test_which_values_are_changes(make: Make, before: float | None, after: float | None, counts: AppendResult) -> None:
    store = make()
    put(store, T0, (T0, "A", before))
    assert put(store, T0 + DAY, (T0, "A", after)) == counts


def test_a_change_of_any_variable_revises_the_row(tmp_path: Path) -> None:
    store = Observations(tmp_path / "two", ("u", "v"), delay=DELAY, mode="live")
    first = pa.table(
        {"valid_time": pa.array([T0], pa.timestamp("us", "UTC")), "location": ["A"], "u": [1.0], "v": [2.0]}
    )
    store.append(first, at=T0, payload="p")
    changed = first.set_column(3, "v", pa.array([3.0]))
    assert store.append(changed, at=T0 + DAY, payload="p") == AppendResult(0, 1, 0)
    assert store.read().select(["u", "v"]).to_pylist() == [{"u": 1.0, "v": 2.0}, {"u": 1.0, "v": 3.0}]


def test_since_and_until_are_inclusive(make: Make) -> None:
    store = make()
    days = [datetime(2001, 1, 30, tzinfo=UTC) + n * DAY for n in range(4)]  # over the end of a month
    put(store, T0, *((day, "A", 1.0) for day in days))
    read = store.read(since=days[1], until=days[2])
    assert read["valid_time"].to_pylist() == days[1:3]
    assert store.read(since=days[1] + TICK, until=days[2] - TICK).num_rows == 0
    assert store.newest() == days[-1]


def test_variables_that_arrive_separately_complete_each_other(tmp_path: Path) -> None:
    store = Observations(tmp_path / "two", ("u", "v"), delay=DELAY, mode="live")
    time = pa.array([T0], pa.timestamp("us", "UTC"))
    for day, (u, v) in enumerate(((1.0, None), (None, 2.0))):
        cells = {"u": pa.array([u], pa.float64()), "v": pa.array([v], pa.float64())}
        store.append(pa.table({"valid_time": time, "location": ["A"], **cells}), at=T0 + day * DAY, payload="p")
    assert store.read().select(["u", "v"]).to_pylist() == [{"u": 1.0, "v": None}, {"u": 1.0, "v": 2.0}]


def test_times_in_other_zones_are_the_same_instants(make: Make) -> None:
    store = make()
    put(store, T0, (T0, "A", 1.0))
    there = (T0 + 13 * HOUR).astimezone(ZoneInfo("Pacific/Auckland"))
    assert put(store, there, (T0.astimezone(ZoneInfo("Asia/Tokyo")), "A", 2.0)) == AppendResult(0, 1, 0)
    assert revisions(store, there)[T0, "A"] == [(T0, 1.0), (T0 + 13 * HOUR, 2.0)]


def test_reading_since_a_time_in_another_zone_finds_its_month(make: Make) -> None:
    # 1 February in Auckland is still January in UTC, which partitions the table.
    store = make()
    midnight = datetime(2001, 2, 1, tzinfo=ZoneInfo("Pacific/Auckland"))
    put(store, T0, (midnight.astimezone(UTC), "A", 1.0))
    assert store.read(since=midnight).num_rows == 1
    late = datetime(2001, 1, 31, 20, tzinfo=ZoneInfo("America/New_York"))  # February in UTC
    put(store, T0, (late.astimezone(UTC), "B", 1.0))
    assert store.read(since=late, until=late)["location"].to_pylist() == ["B"]


def test_the_observations_of_a_product(tmp_path: Path) -> None:
    product, where = make_product(tmp_path, days=40, stations=3), make_settings(tmp_path)
    assert fill(product, where) == AppendResult(120, 0, 0)
    assert fill(product, where, at=T0) == AppendResult(0, 0, 120)
    store = OpenFeed(product.feed, where).observations
    assert (store.mode, store.delay, store.variables) == ("archive", 6 * HOUR, (VARIABLE,))
    assert (
        store.read()
        .select(["valid_time", "location", VARIABLE])
        .equals(record_rows(product).sort_by([("valid_time", "ascending"), ("location", "ascending")]))
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(T0, "A", 1.0), (T0, "B", 1.0), (T0, "A", 2.0)], "two rows have the same valid_time and location"),
        ([(T0, "A", 1.0), (T0, None, 1.0)], "1 rows have no location"),
        ([(None, "A", 1.0), (None, "B", 1.0)], "2 rows have no valid_time"),
    ],
)
def test_rows_without_a_key_and_duplicate_keys_are_refused(make: Make, rows: list[Any], message: str) -> None:
    store = make()
    with pytest.raises(ContractError, match=message):
        put(store, T0, *rows)
    assert store.read().num_rows == 0


def test_a_payload_is_committed_whole_or_not_at_all(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    # Months are merged one after the other, but readers never see only some of them.
    store = make()
    put(store, T0, (T0, "A", 1.0))
    version = store.table.version
    rows = [(T0 + 31 * n * DAY, "A", 2.0) for n in range(20)]
    merged = 0

    def fails(*arguments: Any, **options: Any) -> Any:
        nonlocal merged
        merged += 1
        if merged == 2:
            raise MemoryError
        return merge_undated(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(partitions, "MAX_ROWS", 7)
        patch.setattr(observations, "merge_undated", fails)
        with pytest.raises(MemoryError):
            put(store, T0 + DAY, *rows)
    assert (merged, store.table.version) == (2, version)
    assert put(store, T0 + DAY, *rows) == AppendResult(19, 1, 0)
    assert store.table.version == version + 1


def test_the_grouping_of_months_does_not_change_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [T0 + 9 * n * DAY for n in range(60)]
    first = [(day, location, float(n)) for n, day in enumerate(days) for location in "AB"]
    second = [(day, location, float(n % 50)) for n, day in enumerate(days) for location in "AC"]
    digests = set()
    for max_rows, max_locations in ((1 << 20, 9), (1 << 20, 0), (30, 9), (1, 0)):
        monkeypatch.setattr(partitions, "MAX_ROWS", max_rows)
        monkeypatch.setattr(observations, "_MAX_LOCATIONS_IN_FILTER", max_locations)
        folder = tmp_path / f"{max_rows}-{max_locations}"
        store = Observations(folder, (VARIABLE,), delay=DELAY, mode="archive")
        assert put(store, T0, *first) == AppendResult(120, 0, 0)
        assert put(store, T0, *second[::-1]) == AppendResult(60, 10, 50)
        assert len(list(store.scan())) == {1: 18, 30: 8}.get(max_rows, 1)
        assert len(store.read(since=days[30], until=days[39])) == 30
        digests.add(store.digest())
    assert len(digests) == 1


def test_an_append_is_merged_again_after_another_commit(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other process writes a month that was merged already, and one that was not.
    monkeypatch.setattr(partitions, "MAX_ROWS", 1)
    store, other = make(), make()
    put(store, T0, (T0, "A", 1.0))
    merged = 0

    def overtaken(*arguments: Any, **options: Any) -> Any:
        nonlocal merged
        merged += 1
        if merged == 2:
            assert put(other, T0 + DAY, (T0, "A", 2.0), (T0 + 70 * DAY, "A", 3.0)) == AppendResult(1, 1, 0)
        return merge_undated(*arguments, **options)

    monkeypatch.setattr(observations, "merge_undated", overtaken)
    rows = [(T0, "A", 2.0), (T0 + 35 * DAY, "A", 2.0), (T0 + 70 * DAY, "A", 3.0)]
    assert put(store, T0 + 2 * DAY, *rows) == AppendResult(1, 0, 2)
    assert merged == 3 + 2 + 3
    assert store.table.read().num_rows == 4
