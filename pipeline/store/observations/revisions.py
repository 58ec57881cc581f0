"""What a feed has said of each key, and what that comes to.

The store keeps *statements*: (key, known_at, cells), where a cell without a value says nothing. At an instant, the
cells of a key hold what was last said of each by then. A *revision* is a statement that changed that.

Rows are arrays here: keys are numbers (see `Keys`), instants are microseconds, values are (variable, row) with NaN for
no value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.store.observations.keys import Bool, Float, Int, order_of

NEVER = np.iinfo(np.int64).min
"""When a key became known of which nothing was said."""


@dataclass(frozen=True, slots=True)
class Statements:
    """Statements in any order. Of one key at one instant there may be several; they complete each other."""

    key: Int
    known_at: Int
    values: Float
    said: Int | None = None
    """When the source says that they became known, where that is not `known_at` for all of them."""

    def __len__(self) -> int:
        return len(self.key)

    @property
    def told(self) -> Int:
        """When the source says that they became known."""
        return self.known_at if self.said is None else self.said

    def pick(self, rows: Int | Bool | slice) -> Statements:
        """Return some of them."""
        said = None if self.said is None else self.said[rows]
        return Statements(self.key[rows], self.known_at[rows], self.values[:, rows], said)

    def then(self, later: Statements) -> Statements:
        """Return these, followed by others."""
        return Statements(
            np.concatenate([self.key, later.key]),
            np.concatenate([self.known_at, later.known_at]),
            np.concatenate([self.values, later.values], axis=1),
            None if self.said is None and later.said is None else np.concatenate([self.told, later.told]),
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """What is to be kept of the given rows, and what they were."""

    kept: Statements
    accepted: int
    """Rows that are the first of their key."""
    revised: int
    """Rows that changed a cell of a key, or filled it."""
    unchanged: int
    """Rows that did not."""


def merge_undated(given: Statements, present: Statements, *, history: Bool, learnt: int | None) -> Judged:
    """Judge rows that do not tell when they became known.

    A cell that had no value is history where `history` says so: it was known when it was due. Every other cell that is
    new or changed became known at `learnt`, or right after what it changes if the clock went back since. Without
    `learnt`, as in an archive, it became known right after what it changes.

    Args:
        given: One row a key; `known_at` is when it was due.
        present: What was said of these keys.
        history: (row,) Whether a row is from before the store existed.
        learnt: The instant at which the rows came.
    """
    if len(present):
        known, state = _latest(given.key, present)
    else:
        known, state = np.full(len(given), NEVER, np.int64), np.full_like(given.values, np.nan)
    new, empty = known == NEVER, np.isnan(state)
    spoken = ~np.isnan(given.values)
    differs = spoken & (given.values != state)
    at_due = history & (new | (differs & empty).any(axis=0))
    late = (new & ~history) | np.where(history, differs & ~empty, differs & ~new).any(axis=0)
    after = known + 1 if learnt is None else np.where(new, learnt, np.maximum(learnt, known + 1))
    fresh = np.where(empty, given.values, np.nan)
    whole = np.where(spoken & ~(history & empty), given.values, state)
    kept = Statements(given.key[at_due], given.known_at[at_due], fresh[:, at_due])
    kept = kept.then(Statements(given.key[late], after[late], whole[:, late]))
    accepted, revised = int(new.sum()), int((~new & differs.any(axis=0)).sum())
    return Judged(kept, accepted, revised, len(given) - accepted - revised)


def merge_archive(given: Statements, present: Statements) -> Judged:
    """Judge rows of an archive that tell when they became known, in the order in which they were told.

    Each is kept unless all of it is said already of that instant: one that repeats what was known just before says that
    it still held, which counts as soon as another comes in between. Of two that contradict each other about one key and
    one instant, the later one took effect a microsecond after.
    """
    said = present.then(given)
    ours = np.arange(len(said)) >= len(present)
    compared = _compare(said)
    if (compared.clash & ours[compared.order]).any():
        _set_apart(said, ours)
        compared = _compare(said)
    told, mine = said.pick(compared.order), ours[compared.order]
    starts = np.diff(told.key, prepend=-1) != 0
    first = mine & starts & ~np.isin(told.key, present.key)
    revised = mine & ~first & compared.news
    kept = np.sort(compared.order[mine & ~compared.repeated])
    accepted, changed = int(first.sum()), int(revised.sum())
    return Judged(said.pick(kept), accepted, changed, len(given) - accepted - changed)


def merge_live(given: Statements, present: Statements, *, learnt: int, until: int | None) -> Judged:
    """Judge rows of a live feed that tell when they became known: never does the past change, save by loading history.

    Those said by `until` count as known when they say, all others from when they came at the earliest. From an instant
    on, the cell that was said last counts, so one that was said before what is known then is left out. One that
    contradicts what is stored of the instant at which it was said counts from when it came, and after what it corrects.

    Args:
        given: `known_at` is when they say that they became known.
        present: What was said of these keys.
        learnt: The instant at which the rows came.
        until: History is what was said by then; None where no history is loaded.
    """
    rows = np.arange(len(given))
    given = Statements(given.key, given.known_at.copy(), given.values.copy())
    _set_apart(given, np.ones(len(given), bool))
    again, _ = _of_instant(given, given, before=True)
    given.values[again] = np.nan  # told twice in one payload
    same, corrects = _of_instant(given, present, before=False)
    spoken = ~np.isnan(given.values)
    contradicts = spoken & ~same & (corrects != NEVER)
    late = np.ones(len(given), bool) if until is None else given.known_at > until
    due = np.where(late, np.maximum(given.known_at, learnt), given.known_at)
    after = np.maximum(np.where(contradicts, corrects + 1, NEVER).max(axis=0, initial=NEVER), learnt)
    wrong = contradicts.any(axis=0)
    fresh = np.where(same | contradicts, np.nan, given.values)
    useful = (spoken & ~same & ~contradicts).any(axis=0) | (~spoken.any(axis=0) & ~again.any(axis=0))
    found = Statements(given.key[useful], due[useful], fresh[:, useful], given.known_at[useful]).then(
        Statements(
            given.key[wrong], after[wrong], np.where(contradicts, given.values, np.nan)[:, wrong], given.known_at[wrong]
        )
    )
    row = np.concatenate([rows[useful], rows[wrong]])
    found, keep = _placed(found, present)
    found, row = found.pick(keep), row[keep]
    compared = _compare(present.then(found))
    mine = compared.order >= len(present)
    place = compared.order[mine] - len(present)
    starts = np.diff(found.key[place], prepend=-1) != 0
    first = np.isin(row, row[place[starts & ~np.isin(found.key[place], present.key)]])
    accepted = len(np.unique(row[first]))
    news = np.zeros(len(found), bool)
    news[place] = compared.news[mine]
    revised = len(np.unique(row[news & ~first]))
    return Judged(found, accepted, revised, len(given) - accepted - revised)


def _of_instant(given: Statements, others: Statements, *, before: bool) -> tuple[Bool, Int]:
    """Compare cells with what others say of the same key and the same said instant, the last one known of each cell.

    Returns:
        (variable, row) Whether the same is said; and since when what is said is known, `NEVER` for nothing. With
        `before`, only others that come before a row in the order given count, and the given are the others.
    """
    both = others if before else others.then(given)
    own = np.arange(len(both)) >= (0 if before else len(others))
    last = np.where(own, np.iinfo(np.int64).max if not before else 0, both.known_at)
    order = np.lexsort((np.arange(len(both)), last, both.told, both.key))
    part = both.pick(order)
    starts = (np.diff(part.key, prepend=-1) != 0) | (np.diff(part.told, prepend=NEVER) != 0)
    values = part.values if before else np.where(own[order], np.nan, part.values)
    source = _source(values, starts)
    if before:  # the one before each
        source = np.roll(source, 1, axis=1)
        source[:, starts] = -1
    some = np.maximum(source, 0)
    state = np.where(source < 0, np.nan, np.take_along_axis(values, some, axis=1))
    since = np.where(source < 0, NEVER, part.known_at[some])
    where = np.empty(len(both), np.int64)
    where[order] = np.arange(len(both))
    mine = where[own]
    return given.values == state[:, mine], since[:, mine]


def _placed(found: Statements, present: Statements) -> tuple[Statements, Int]:
    """Leave out what was said before what is known, and put what would contradict it at its instant right after.

    Returns:
        The statements, with their instants and cells; and which of them are left, ascending.
    """
    known_at = found.known_at.copy()
    while True:
        said = present.then(Statements(found.key, known_at, found.values, found.told))
        ours = np.arange(len(said)) >= len(present)
        spoken = ~np.isnan(said.values)
        rank = _rank(said.key, said.told)
        order = np.lexsort((-rank, said.known_at, said.key))
        newest = np.empty_like(spoken, np.int64)
        newest[:, order] = np.maximum.accumulate(np.where(spoken, rank, -1)[:, order], axis=1)
        stale = spoken & (newest > rank) & ours
        values = np.where(stale, np.nan, said.values)
        compared = _compare(
            Statements(said.key, said.known_at, values), order=np.lexsort((rank, ours, said.known_at, said.key))
        )
        clash = compared.order[compared.clash & ours[compared.order]]
        if not len(clash):
            break
        known_at[clash - len(present)] += 1
    starts = np.zeros(len(said), bool)
    starts[order] = np.diff(said.key[order], prepend=-1) != 0
    keep = np.flatnonzero((~np.isnan(values).all(axis=0) | starts)[ours])
    return Statements(found.key, known_at, values[:, ours], found.told), keep


def _rank(key: Int, told: Int) -> Int:
    """Return numbers that rise with the key, then the instant, and are equal where both are."""
    order = np.lexsort((told, key))
    steps = (np.diff(key[order], prepend=-1) != 0) | (np.diff(told[order], prepend=NEVER) != 0)
    rank = np.empty(len(key), np.int64)
    rank[order] = np.cumsum(steps)
    return rank


def revisions(said: Statements) -> tuple[Int | None, Float]:
    """Return what statements come to: those that changed something, by key and known_at, with every cell filled.

    Returns:
        The statement that each revision comes from, None for all of them as they are; and the (variable, row) values.
    """
    order = order_of(said.key, said.known_at)
    told = said if order is None else said.pick(order)
    starts = np.diff(told.key, prepend=-1) != 0
    if starts.all():
        return order, told.values
    alone = starts & np.append(starts[1:], True)
    many = np.flatnonzero(~alone)  # few, as a rule
    key, known_at = told.key[many], told.known_at[many]
    values = _carry(told.values[:, many], starts[many])
    ends = np.flatnonzero((np.diff(key, append=-1) != 0) | (np.diff(known_at, append=NEVER) != 0))
    whole = values[:, ends]
    was = np.roll(whole, 1, axis=1)
    changed = ~((whole == was) | (np.isnan(whole) & np.isnan(was))).all(axis=0)
    changed |= np.diff(key[ends], prepend=-1) != 0
    filled = told.values.copy()
    filled[:, many] = values
    kept = np.flatnonzero(alone)
    kept = np.sort(np.concatenate([kept, many[ends[changed]]]))
    return (kept if order is None else order[kept]), filled[:, kept]


def _latest(keys: Int, said: Statements) -> tuple[Int, Float]:
    """Return (known_at, values) of rising keys once all is said; `NEVER` where nothing was said of one."""
    order = order_of(said.key, said.known_at)
    told = said if order is None else said.pick(order)
    ends = np.diff(told.key, append=-1) != 0
    values = told.values if ends.all() else _carry(told.values, np.roll(ends, 1))
    place = np.searchsorted(keys, told.key[ends])
    known = np.full(len(keys), NEVER, np.int64)
    known[place] = told.known_at[ends]
    state = np.full((len(values), len(keys)), np.nan)
    state[:, place] = values[:, ends]
    return known, state


def _source(values: Float, starts: Bool) -> Int:
    """Return where the last value of each cell stands, -1 for nowhere in its group; `starts` marks where groups do."""
    place = np.arange(values.shape[1])
    group = np.maximum.accumulate(np.where(starts, place, 0))
    source: Int = np.maximum.accumulate(np.where(np.isnan(values), -1, place), axis=1)
    source[source < group] = -1
    return source


def _carry(values: Float, starts: Bool) -> Float:
    """Fill each cell that has no value with the last one before it in its group."""
    source = _source(values, starts)
    return np.where(source < 0, np.nan, np.take_along_axis(values, np.maximum(source, 0), axis=1))


@dataclass(frozen=True, slots=True)
class _Compared:
    """Statements by key and known_at, each beside what was known just before it."""

    order: Int
    news: Bool
    """It says something that was not known."""
    clash: Bool
    """It contradicts what was said of the same instant."""
    repeated: Bool
    """All of it was said of the same instant."""


def _compare(said: Statements, order: Int | None = None) -> _Compared:
    order = order_of(said.key, said.known_at) if order is None else order
    order = np.arange(len(said)) if order is None else order
    told = said.pick(order)
    starts = np.diff(told.key, prepend=-1) != 0
    source = np.roll(_source(told.values, starts), 1, axis=1)
    source[:, starts] = -1
    some = np.maximum(source, 0)
    before = np.where(source < 0, np.nan, np.take_along_axis(told.values, some, axis=1))
    now = (source >= 0) & (told.known_at[some] == told.known_at)
    spoken = ~np.isnan(told.values)
    differs = spoken & (told.values != before)
    again = ~starts & (np.diff(told.known_at, prepend=NEVER) == 0)
    repeated = again & (~spoken | (now & ~differs)).all(axis=0)
    return _Compared(order, differs.any(axis=0), (differs & now).any(axis=0), repeated)


def _set_apart(said: Statements, ours: Bool) -> None:
    """Move each of `ours` that contradicts what was said of its instant to the first one after where it does not."""
    rows = np.arange(len(said))
    while True:
        part = said.pick(rows)
        compared = _compare(part)
        clash = compared.order[compared.clash & ours[rows][compared.order]]
        if not len(clash):
            return
        # Only the first of an instant contradicts what stands there; the next may agree with that.
        key, known_at = part.key[clash], part.known_at[clash]
        first = (np.diff(key, prepend=-1) != 0) | (np.diff(known_at, prepend=NEVER) != 0)
        said.known_at[rows[clash[first]]] += 1
        rows = rows[np.isin(part.key, key)]
