"""Property tests of the bitemporal store against a naive replay of all statements."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.features.asof import as_of
from pipeline.features.frames import build_frames
from pipeline.store.observations import AppendResult, Observations

Mode = Literal["live", "archive"]
Key = tuple[datetime, str]
Cells = tuple[float | None, float | None]

DAY, HOUR, TICK = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
DELAY = 6 * HOUR
T0 = datetime(2001, 1, 31, tzinfo=UTC)
TIME = pa.timestamp("us", "UTC")
TIMES = [T0, T0 + DAY, T0 + 2 * DAY]  # over the end of a month
LOCATIONS = ["A", "B"]
CHANNELS = ("u", "v")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - hundreds of temporary stores


class Row(NamedTuple):
    valid_time: datetime
    location: str
    u: float | None
    v: float | None
    known_at: datetime | None = None

    @property
    def key(self) -> Key:
        return self.valid_time, self.location

    @property
    def cells(self) -> Cells:
        return self.u, self.v


class Payload(NamedTuple):
    at: datetime
    rows: Sequence[Row]
    history: bool = False

    @property
    def dated(self) -> bool:
        return any(row.known_at for row in self.rows)


Stated = tuple[datetime, Cells]
"""When something became known, and its values."""


class Replay:
    """Every statement in the order of arrival, merged one by one."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.since: datetime | None = None
        self.stated: dict[Key, list[Stated]] = {}
        self.asserted: dict[Key, dict[int, datetime]] = {}
        """When statements of live feeds were asserted, by index; all others when they became known."""

    def add(self, payload: Payload) -> None:
        self.since = self.since or payload.at
        if payload.dated and self.mode == "live":
            self._add_live(payload)
            return
        for row in payload.rows:
            stated = self.stated.setdefault(row.key, [])
            stated += self._dated(stated, row) if row.known_at else self._undated(stated, row, payload)

    def _dated(self, stated: list[Stated], row: Row) -> list[Stated]:
        known = row.known_at or T0
        while _conflict(_state([one for one in stated if one[0] == known]), row.cells):
            known += TICK
        return [(known, row.cells)]

    def _add_live(self, payload: Payload) -> None:
        """Add dated rows of a live feed: each value by itself, of a payload the one asserted last first."""
        stored = {key: list(self._with_assertions(key)) for key in self.stated}
        given: dict[Key, list[Stated]] = {}
        for row in payload.rows:
            stated = given.setdefault(row.key, [])
            stated += self._dated(stated, row)
        for key, rows in given.items():
            for asserted, cells in sorted(rows, key=lambda one: one[0], reverse=True):
                self._add_live_row(key, asserted, cells, payload, stored.get(key, []))

    def _add_live_row(
        self,
        key: Key,
        asserted: datetime,
        cells: Cells,
        payload: Payload,
        stored: list[tuple[datetime, datetime, Cells]],
    ) -> None:
        assert self.since is not None
        loading = payload.history or payload.at == self.since
        due = asserted if loading and asserted <= self.since else max(asserted, payload.at)
        fresh: list[float | None] = [None, None]
        wrong: list[float | None] = [None, None]
        after = payload.at
        for n, value in enumerate(cells):
            was = sorted((known, old[n]) for known, at, old in stored if at == asserted and old[n] is not None)
            if not was:
                fresh[n] = value
            elif value is not None and was[-1][1] != value:
                wrong[n] = value
                after = max(after, was[-1][0] + TICK)
        if cells == (None, None) or fresh != [None, None]:
            self._insert(key, asserted, due, (fresh[0], fresh[1]))
        if wrong != [None, None]:
            self._insert(key, asserted, after, (wrong[0], wrong[1]))

    def _insert(self, key: Key, asserted: datetime, known: datetime, cells: Cells) -> None:
        while True:
            others = self._with_assertions(key)
            left = [
                None
                if any(at <= known and when > asserted and old[n] is not None for at, when, old in others)
                else value
                for n, value in enumerate(cells)
            ]
            older = [old for at, when, old in others if at == known and when < asserted]
            if not any(_conflict(old, (left[0], left[1])) for old in older):
                break
            known += TICK
        if left != [None, None] or not any(at <= known for at, _, _ in others):
            self.stated.setdefault(key, []).append((known, (left[0], left[1])))
            self.asserted.setdefault(key, {})[len(self.stated[key]) - 1] = asserted

    def _with_assertions(self, key: Key) -> list[tuple[datetime, datetime, Cells]]:
        """Every statement of a key: when it became known, when it was asserted, its values."""
        asserted = self.asserted.get(key, {})
        return [(known, asserted.get(n, known), cells) for n, (known, cells) in enumerate(self.stated.get(key, []))]

    def _undated(self, stated: list[Stated], row: Row, payload: Payload) -> list[Stated]:
        due = row.valid_time + DELAY
        loading = payload.history or payload.at == self.since
        history = self.mode == "archive" or (loading and self.since is not None and due <= self.since)
        if not stated:
            return [(due if history else payload.at, row.cells)]
        was = _state(stated)
        fresh = [value if history and old is None else None for old, value in zip(was, row.cells, strict=True)]
        late = [
            value is not None and value != old and filled is None
            for old, value, filled in zip(was, row.cells, fresh, strict=True)
        ]
        # A late statement repeats the values of its key that did not change.
        other = [
            old if value is None or filled is not None else value
            for old, value, filled in zip(was, row.cells, fresh, strict=True)
        ]
        if not any(late):
            other = [None, None]
        after = max(known for known, _ in stated) + TICK
        later = after if self.mode == "archive" else max(payload.at, after)
        both = [(due, (fresh[0], fresh[1])), (later, (other[0], other[1]))]
        return [(known, cells) for known, cells in both if cells != (None, None)]

    def turns(self) -> list[datetime]:
        """The instants at which anything became known."""
        return sorted({known for stated in self.stated.values() for known, _ in stated})

    def known(self, by: datetime) -> dict[Key, Cells]:
        """What was known about every key by an instant."""
        seen = {key: [one for one in stated if one[0] <= by] for key, stated in self.stated.items()}
        return {key: _state(stated) for key, stated in seen.items() if stated}


def _state(stated: Sequence[Stated]) -> Cells:
    state: Cells = (None, None)
    for _, (u, v) in sorted(stated, key=lambda one: one[0]):
        state = (state[0] if u is None else u, state[1] if v is None else v)
    return state


def _conflict(was: Cells, cells: Cells) -> bool:
    return any(old is not None and new is not None and old != new for old, new in zip(was, cells, strict=True))


@contextmanager
def new_store(mode: Mode) -> Iterator[Observations]:
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as folder:
        yield Observations(Path(folder) / "o", CHANNELS, delay=DELAY, mode=mode)


def put(store: Observations, payload: Payload, *, only_missing: bool = False) -> AppendResult:
    named = ["valid_time", "location", *CHANNELS, *(["known_at"] if payload.dated else [])]
    types = {"valid_time": TIME, "location": pa.string(), "known_at": TIME}
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in named])
    rows = pa.Table.from_pylist([{name: getattr(row, name) for name in named} for row in payload.rows], schema=schema)
    return store.append(rows, at=payload.at, payload="p", history=payload.history, only_missing=only_missing)


def rows_of(store: Observations, known_by: datetime | None = None) -> list[Row]:
    rows = store.read(known_by=known_by).to_pylist()
    return [Row(row["valid_time"], row["location"], row["u"], row["v"], row["known_at"]) for row in rows]


VALUES = st.sampled_from([1.0, 2.0, None])
INSTANTS = st.integers(-2, 8).map(lambda half_days: T0 + half_days * DAY / 2)
KEYS = st.tuples(st.sampled_from(TIMES), st.sampled_from(LOCATIONS))


@st.composite
def plain_payloads(draw: st.DrawFn) -> Payload:
    cells = draw(st.dictionaries(KEYS, st.tuples(VALUES, VALUES), min_size=1, max_size=4))
    rows = [Row(*key, *values) for key, values in cells.items()]
    return Payload(draw(INSTANTS), rows, draw(st.booleans()))


@st.composite
def dated_payloads(draw: st.DrawFn) -> Payload:
    one = st.builds(
        lambda key, cells, known: Row._make((*key, *cells, known)), KEYS, st.tuples(VALUES, VALUES), INSTANTS
    )
    return Payload(draw(INSTANTS), draw(st.lists(one, min_size=1, max_size=6)), draw(st.booleans()))


ANY_PAYLOADS = (
    st.lists(plain_payloads(), min_size=1, max_size=5)
    | st.lists(dated_payloads(), min_size=1, max_size=5)
    | st.lists(plain_payloads() | dated_payloads(), min_size=2, max_size=5)
)
MODES = st.sampled_from(["live", "archive"])


@given(MODES, ANY_PAYLOADS, st.data())
@settings(max_examples=60, deadline=None)
def test_reads_as_of_any_instant_equal_a_replay(mode: Mode, payloads: list[Payload], data: st.DataObject) -> None:
    # Late, repeated, partial and revised rows, with and without their known_at, in any order.
    replay = Replay(mode)
    with new_store(mode) as store:
        for payload in payloads:
            added = put(store, payload)
            replay.add(payload)
            assert added.added + added.revised + added.unchanged == len(payload.rows)
        turns = replay.turns()
        instants = {turns[0], turns[-1], *data.draw(st.lists(st.sampled_from(turns), max_size=3))}
        for instant in sorted({moved for one in instants for moved in (one - TICK, one, one + TICK)}):
            latest = {row.key: row.cells for row in rows_of(store, instant)}  # sorted by known_at: the last one wins
            assert latest == replay.known(instant)
        _every_row_is_a_change(rows_of(store))
        frames = build_frames(store.read(), locations=tuple(LOCATIONS), variables=CHANNELS, step=DAY)
        seen = as_of(frames, turns[-1])
        for (time, location), cells in replay.known(turns[-1]).items():
            got = seen[frames.index(time), :, LOCATIONS.index(location)]
            assert [None if value != value else value for value in got.tolist()] == list(cells)


def _every_row_is_a_change(rows: list[Row]) -> None:
    assert [(row.valid_time, row.location, row.known_at) for row in rows] == sorted(
        {(row.valid_time, row.location, row.known_at) for row in rows}  # sorted, without duplicates
    )
    for one, other in pairwise(rows):
        assert one.key != other.key or one.cells != other.cells


@given(MODES, ANY_PAYLOADS)
@settings(max_examples=30, deadline=None)
def test_a_payload_that_is_appended_again_at_once_changes_nothing(mode: Mode, payloads: list[Payload]) -> None:
    # A run that was killed between the commit and the receipt is repeated.
    with new_store(mode) as store:
        for payload in payloads:
            put(store, payload)
            version = store.table.version
            assert put(store, payload) == AppendResult(0, 0, len(payload.rows))
            assert store.table.version == version


@given(ANY_PAYLOADS)
@settings(max_examples=30, deadline=None)
def test_the_last_payload_appended_again_later_changes_nothing(payloads: list[Payload]) -> None:
    # The source is asked again and returns the same.
    with new_store("live") as store:
        for n, payload in enumerate(payloads):
            put(store, payload._replace(at=T0 + n * DAY))
        version = store.table.version
        last = payloads[-1]
        again = put(store, last._replace(at=T0 + 9 * DAY))
        assert again == AppendResult(0, 0, len(last.rows))
        assert store.table.version == version


@given(MODES, ANY_PAYLOADS, plain_payloads())
@settings(max_examples=40, deadline=None)
def test_only_missing_values_are_added(mode: Mode, payloads: list[Payload], again: Payload) -> None:
    with new_store(mode) as store:
        for payload in payloads:
            put(store, payload)
        before = {row.key: row.cells for row in rows_of(store)}
        added = put(store, again._replace(at=T0 + 30 * DAY), only_missing=True)
        assert added.added + added.revised + added.unchanged == len(again.rows)
        expected = dict(before)
        for row in again.rows:
            u, v = before.get(row.key, (None, None))
            expected[row.key] = (row.u if u is None else u, row.v if v is None else v)
        assert {row.key: row.cells for row in rows_of(store)} == expected


@given(ANY_PAYLOADS, plain_payloads() | dated_payloads(), INSTANTS)
@settings(max_examples=40, deadline=None)
def test_what_was_known_at_a_past_instant_never_changes(
    payloads: list[Payload], later: Payload, instant: datetime
) -> None:
    # In a live feed a payload says nothing about instants before it arrived.
    with new_store("live") as store:
        for payload in payloads:
            put(store, payload)
        first = store.table.property("live_since")
        at = max([payload.at for payload in payloads], default=T0) + DAY
        assert first is not None and at > datetime.fromisoformat(first)
        then = min(instant, at - TICK)
        before = store.read(known_by=then)
        put(store, Payload(at, later.rows))
        assert store.read(known_by=then).equals(before)


@st.composite
def consistent(draw: st.DrawFn) -> list[list[Row]]:
    """Payloads that agree: no two have different values for one key, variable and known_at."""
    dated = draw(st.booleans())
    names = st.tuples(KEYS, INSTANTS if dated else st.none())
    truth: Mapping[tuple[Key, datetime | None], Cells] = draw(
        st.dictionaries(names, st.tuples(VALUES, VALUES), min_size=1, max_size=8)
    )
    blank = st.sampled_from([(True, True), (True, False), (False, True)])
    payloads = []
    for _ in range(draw(st.integers(1, 4))):
        chosen = draw(st.lists(st.sampled_from(sorted(truth, key=str)), min_size=1, unique=True))
        rows = [(key, known, truth[key, known], draw(blank)) for key, known in chosen]
        payloads.append(
            [Row(*key, u if keep[0] else None, v if keep[1] else None, known) for key, known, (u, v), keep in rows]
        )
    return payloads


@given(MODES, consistent(), st.data())
@settings(max_examples=50, deadline=None)
def test_agreeing_payloads_give_the_same_digest_in_any_order_and_any_calls(
    mode: Mode, payloads: list[list[Row]], data: st.DataObject
) -> None:
    # In an archive, or when history is loaded, with each call at another instant.
    now = T0 + 30 * DAY
    calls = data.draw(st.permutations(payloads))
    cut = data.draw(st.integers(0, len(calls)))
    joined = list({(row.key, row.known_at): row for rows in calls[:cut] for row in rows}.values())
    with new_store(mode) as one, new_store(mode) as other:
        for n, rows in enumerate(payloads):
            put(one, Payload(now + n * DAY, rows, history=True))
        for n, rows in enumerate([joined, *calls] if joined else calls):
            put(other, Payload(now + n * HOUR, rows, history=True))
        assert one.digest() == other.digest()
        assert one.read().equals(other.read())


@given(
    st.lists(plain_payloads(), min_size=1, max_size=4) | st.lists(dated_payloads(), min_size=1, max_size=4), st.data()
)
@settings(max_examples=30, deadline=None)
def test_the_order_of_contradicting_payloads_alone_decides(payloads: list[Payload], data: st.DataObject) -> None:
    # In an archive, the split into calls, their times and repetitions do not matter.
    with new_store("archive") as one, new_store("archive") as other:
        for payload in payloads:
            put(one, Payload(T0, payload.rows))
            for _ in range(data.draw(st.integers(1, 2))):
                put(other, Payload(data.draw(INSTANTS), payload.rows))
        if payloads[0].dated:  # several payloads of one source may come as one
            with new_store("archive") as joined:
                put(joined, Payload(T0, [row for payload in payloads for row in payload.rows]))
                assert joined.digest() == one.digest()
        assert one.digest() == other.digest()
        if not payloads[0].dated:
            last = {
                row.key: _state([(T0, one.cells) for p in payloads for one in p.rows if one.key == row.key])
                for p in payloads
                for row in p.rows
            }
            assert {row.key: row.cells for row in rows_of(one)} == last
