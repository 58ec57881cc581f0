from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.features.asof import as_of
from pipeline.features.frames import build_frames
from pipeline.store.observations import Appended, Observations
from tests.world import VARIABLE, fill, make_product, make_rows, make_settings, record_rows

Clock = Literal["wall", "record"]
Key = tuple[datetime, str]
Revisions = dict[Key, list[tuple[datetime, float | None]]]
Make = Callable[..., Observations]

DAY, HOUR, TICK = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
DELAY = 6 * HOUR
T0 = datetime(2001, 1, 10, tzinfo=UTC)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(clock: Clock = "wall") -> Observations:
        return Observations(tmp_path / "observations", (VARIABLE,), delay=DELAY, clock=clock)

    return made


def put(store: Observations, at: datetime, *rows: tuple[datetime, str, float | None], payload: str = "p") -> Appended:
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


def test_no_rows_change_nothing(make: Make) -> None:
    store = make()
    assert put(store, T0) == Appended(0, 0, 0)
    assert store.read().num_rows == 0


def test_rows_come_back_by_time_place_and_known_at(make: Make) -> None:
    store = make()
    put(store, T0, (T0 - DAY, "B", 2.0), (T0 - 40 * DAY, "B", 1.0), (T0 - DAY, "A", 3.0), payload="first")
    put(store, T0 + DAY, (T0 - DAY, "A", 4.0), payload="second")
    rows = store.read().to_pylist()
    assert [(row["valid_time"], row["location"], row[VARIABLE], row["payload"], row["month"]) for row in rows] == [
        (T0 - 40 * DAY, "B", 1.0, "first", "2000-12"),
        (T0 - DAY, "A", 3.0, "first", "2001-01"),
        (T0 - DAY, "A", 4.0, "second", "2001-01"),
        (T0 - DAY, "B", 2.0, "first", "2001-01"),
    ]


def test_the_same_rows_again_add_nothing(make: Make) -> None:
    # F13
    store = make()
    given = ((T0, "A", 1.0), (T0, "B", None))
    assert put(store, T0, *given) == Appended(2, 0, 0)
    version = store.table.version
    assert put(store, T0 + DAY, *given) == Appended(0, 0, 2)
    assert put(store, T0 - DAY, *given, payload="another") == Appended(0, 0, 2)
    assert store.table.version == version


def test_history_became_known_after_the_delay(make: Make) -> None:
    store = make()
    put(store, T0, (T0 - 3 * DAY, "A", 1.0), (T0 - DELAY, "A", 2.0), (T0 - DELAY + TICK, "A", 3.0), (T0, "A", 4.0))
    assert revisions(store) == {
        (T0 - 3 * DAY, "A"): [(T0 - 3 * DAY + DELAY, 1.0)],
        (T0 - DELAY, "A"): [(T0, 2.0)],  # due exactly when the store began: history
        (T0 - DELAY + TICK, "A"): [(T0, 3.0)],  # due a tick later: learnt by this ingest
        (T0, "A"): [(T0, 4.0)],
    }


def test_history_that_is_loaded_later_is_history_only_by_word_and_news_never_is(make: Make) -> None:
    store = make()
    put(store, T0, (T0 - DAY, "A", 1.0))
    late = make_rows((T0 - 9 * DAY, "A", 2.0), (T0 - DELAY, "A", 4.0), (T0 + DAY, "A", 3.0))
    store.append(late, at=T0 + 5 * DAY, payload="p", history=True)
    assert revisions(store)[T0 - 9 * DAY, "A"] == [(T0 - 9 * DAY + DELAY, 2.0)]
    assert revisions(store)[T0 - DELAY, "A"] == [(T0, 4.0)]  # due exactly when the store began
    assert revisions(store)[T0 + DAY, "A"] == [(T0 + 5 * DAY, 3.0)]  # due after the store began, and four days late


def test_what_comes_late_was_not_known_before_however_old_it_is(make: Make) -> None:
    # F15: a replay of the days between sees no more than was seen then.
    store = make()
    put(store, T0, (T0 - DAY, "A", 1.0))
    put(store, T0 + 5 * DAY, (T0 - 9 * DAY, "A", 2.0))
    assert revisions(store)[T0 - 9 * DAY, "A"] == [(T0 + 5 * DAY, 2.0)]


def test_a_changed_value_is_a_revision_known_from_its_ingest_on(make: Make) -> None:
    store = make()
    put(store, T0, (T0 - 9 * DAY, "A", 1.0), (T0, "A", 1.0))
    assert put(store, T0 + DAY, (T0 - 9 * DAY, "A", 2.0), (T0, "A", 1.0), (T0, "B", 5.0)) == Appended(1, 1, 1)
    assert revisions(store)[T0 - 9 * DAY, "A"] == [(T0 - 9 * DAY + DELAY, 1.0), (T0 + DAY, 2.0)]
    # F15: seen from before, nothing has changed.
    assert revisions(store, T0 + DAY - TICK)[T0 - 9 * DAY, "A"] == [(T0 - 9 * DAY + DELAY, 1.0)]


def test_a_value_that_changes_back_is_a_revision_too(make: Make) -> None:
    store = make()
    for day, value in enumerate((1.0, 2.0, 1.0)):
        put(store, T0 + day * DAY, (T0, "A", value))
    assert revisions(store) == {(T0, "A"): [(T0, 1.0), (T0 + DAY, 2.0), (T0 + 2 * DAY, 1.0)]}


@pytest.mark.parametrize("back", [timedelta(0), HOUR])
def test_a_revision_comes_after_what_it_revises_even_if_the_clock_went_back(make: Make, back: timedelta) -> None:
    # F22
    store = make()
    put(store, T0, (T0, "A", 1.0))
    put(store, T0 - back, (T0, "A", 2.0))
    assert revisions(store) == {(T0, "A"): [(T0, 1.0), (T0 + TICK, 2.0)]}


def test_an_archive_is_all_history_and_corrections_follow_at_once(make: Make) -> None:
    store = make("record")
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
        (None, None, Appended(0, 0, 1)),
        (float("nan"), None, Appended(0, 0, 1)),
        (None, 1.0, Appended(0, 1, 0)),
        (1.0, None, Appended(0, 0, 1)),  # a cell without a value says nothing
        (0.0, -0.0, Appended(0, 0, 1)),
        (1.0, 1.0 + 2**-52, Appended(0, 1, 0)),
    ],
)
def test_what_is_a_change(make: Make, before: float | None, after: float | None, counts: Appended) -> None:
    store = make()
    put(store, T0, (T0, "A", before))
    assert put(store, T0 + DAY, (T0, "A", after)) == counts


def test_a_change_of_any_variable_revises_the_row(tmp_path: Path) -> None:
    store = Observations(tmp_path / "two", ("u", "v"), delay=DELAY, clock="wall")
    first = pa.table(
        {"valid_time": pa.array([T0], pa.timestamp("us", "UTC")), "location": ["A"], "u": [1.0], "v": [2.0]}
    )
    store.append(first, at=T0, payload="p")
    changed = first.set_column(3, "v", pa.array([3.0]))
    assert store.append(changed, at=T0 + DAY, payload="p") == Appended(0, 1, 0)
    assert store.read().select(["u", "v"]).to_pylist() == [{"u": 1.0, "v": 2.0}, {"u": 1.0, "v": 3.0}]


def test_reading_by_time_keeps_both_ends(make: Make) -> None:
    store = make()
    days = [datetime(2001, 1, 30, tzinfo=UTC) + n * DAY for n in range(4)]  # over the end of a month
    put(store, T0, *((day, "A", 1.0) for day in days))
    read = store.read(since=days[1], until=days[2])
    assert read["valid_time"].to_pylist() == days[1:3]
    assert store.read(since=days[1] + TICK, until=days[2] - TICK).num_rows == 0
    assert store.newest() == days[-1]


def test_variables_that_come_apart_complete_each_other(tmp_path: Path) -> None:
    store = Observations(tmp_path / "two", ("u", "v"), delay=DELAY, clock="wall")
    time = pa.array([T0], pa.timestamp("us", "UTC"))
    for day, (u, v) in enumerate(((1.0, None), (None, 2.0))):
        cells = {"u": pa.array([u], pa.float64()), "v": pa.array([v], pa.float64())}
        store.append(pa.table({"valid_time": time, "location": ["A"], **cells}), at=T0 + day * DAY, payload="p")
    assert store.read().select(["u", "v"]).to_pylist() == [{"u": 1.0, "v": None}, {"u": 1.0, "v": 2.0}]


def test_other_units_or_variables_than_the_store_keeps_are_refused(tmp_path: Path) -> None:
    kept = Observations(tmp_path / "o", (VARIABLE,), delay=DELAY, clock="wall", units=("m s-1",))
    put(kept, T0, (T0, "A", 1.0))
    for other in (
        Observations(tmp_path / "o", (VARIABLE,), delay=DELAY, clock="wall", units=("knot",)),
        Observations(tmp_path / "o", (VARIABLE, "gust"), delay=DELAY, clock="wall", units=("m s-1", "m s-1")),
    ):
        with pytest.raises(ConfigError, match="the store keeps"):
            other.read()
        with pytest.raises(ConfigError, match="the store keeps"):
            put(other, T0 + DAY, (T0, "A", 2.0))


def test_times_of_another_zone_are_the_same_instants(make: Make) -> None:
    store = make()
    put(store, T0, (T0, "A", 1.0))
    there = (T0 + 13 * HOUR).astimezone(ZoneInfo("Pacific/Auckland"))
    assert put(store, there, (T0.astimezone(ZoneInfo("Asia/Tokyo")), "A", 2.0)) == Appended(0, 1, 0)
    assert revisions(store, there)[T0, "A"] == [(T0, 1.0), (T0 + 13 * HOUR, 2.0)]


def test_reading_since_a_time_of_another_zone_loses_no_month(make: Make) -> None:
    # 1 February in Auckland is still January in UTC, where the month of a row is told.
    store = make()
    midnight = datetime(2001, 2, 1, tzinfo=ZoneInfo("Pacific/Auckland"))
    put(store, T0, (midnight.astimezone(UTC), "A", 1.0))
    assert store.read(since=midnight).num_rows == 1
    late = datetime(2001, 1, 31, 20, tzinfo=ZoneInfo("America/New_York"))  # February in UTC
    put(store, T0, (late.astimezone(UTC), "B", 1.0))
    assert store.read(since=late, until=late)["location"].to_pylist() == ["B"]


def test_the_observations_of_a_product(tmp_path: Path) -> None:
    product, where = make_product(tmp_path, days=40, stations=3), make_settings(tmp_path)
    assert fill(product, where) == Appended(120, 0, 0)
    assert fill(product, where, at=T0) == Appended(0, 0, 120)
    store = Observations.of(product, where)
    assert (store.clock, store.delay, store.variables) == ("record", 6 * HOUR, (VARIABLE,))
    assert (
        store.read()
        .select(["valid_time", "location", VARIABLE])
        .equals(record_rows(product).sort_by([("valid_time", "ascending"), ("location", "ascending")]))
    )


# Deliveries in any order: late, repeated, revised, withdrawn.
TIMES = [T0 + n * DAY for n in range(4)]
PLACES = ["A", "B"]
VALUES = st.sampled_from([1.0, 2.0, None])
DELIVERY = st.tuples(
    st.integers(-3, 8).map(lambda half_days: T0 + half_days * DAY / 2),
    st.dictionaries(st.tuples(st.sampled_from(TIMES), st.sampled_from(PLACES)), VALUES, min_size=1),
)


class Ledger:
    """What an archivist would write down, one revision at a time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.live_since: datetime | None = None
        self.book: Revisions = {}

    def deliver(self, at: datetime, values: Mapping[Key, float | None]) -> None:
        self.live_since = self.live_since or at
        for (time, place), value in values.items():
            pages = self.book.setdefault((time, place), [])
            due = time + DELAY
            if not pages:
                history = self.clock == "record" or due <= self.live_since == at
                pages.append((due if history else at, value))
            elif value is not None and pages[-1][1] != value:
                last = pages[-1][0]
                pages.append((last + TICK if self.clock == "record" else max(at, last + TICK), value))

    def known(self, by: datetime) -> dict[Key, float | None]:
        return {
            key: [v for known, v in pages if known <= by][-1] for key, pages in self.book.items() if pages[0][0] <= by
        }


@given(st.sampled_from(["wall", "record"]), st.lists(DELIVERY, min_size=1, max_size=5), st.data())
@settings(max_examples=15, deadline=None)
def test_as_of_any_instant_the_store_and_the_frames_say_what_a_ledger_says(
    clock: Clock, deliveries: list[tuple[datetime, dict[Key, float | None]]], data: st.DataObject
) -> None:
    # F13, F15
    ledger = Ledger(clock)
    with tempfile.TemporaryDirectory() as folder:
        store = Observations(Path(folder) / "o", (VARIABLE,), delay=DELAY, clock=clock)
        for at, values in deliveries:
            put(store, at, *((time, place, value) for (time, place), value in values.items()))
            ledger.deliver(at, values)
        assert revisions(store) == ledger.book
        turns = sorted({known for pages in ledger.book.values() for known, _ in pages})
        instants = [turns[0] - TICK, turns[-1], *data.draw(st.lists(st.sampled_from(turns), max_size=3))]
        frames = build_frames(store.read(), locations=("A", "B"), variables=(VARIABLE,), step=DAY)
        for instant in (moved for one in instants for moved in (one - TICK, one, one + TICK)):
            told = ledger.known(instant)
            read = {key: pages[-1][1] for key, pages in revisions(store, instant).items()}
            assert read == told
            seen = as_of(frames, instant)
            for column, place in enumerate(PLACES):
                for time in TIMES:
                    row, value = frames.index(time), told.get((time, place))
                    if 0 <= row < len(frames.times):
                        got = float(seen[row, 0, column])
                        assert got == value if value is not None else got != got
                    else:
                        assert value is None
