"""What a feed has said of each key, and what that comes to.

The store keeps *statements*: (key, known_at, cells), where a cell without a value says nothing. At an instant, the
cells of a key hold what was last said of each by then. A *revision* is a statement that changed that.

Rows are arrays here: keys are numbers (see `Keys`), instants are microseconds, values are (variable, row) with NaN for
no value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.store.keys import Bool, Float, Int, order_of

NEVER = np.iinfo(np.int64).min
"""When a key became known of which nothing was said."""


@dataclass(frozen=True, slots=True)
class Said:
    """Statements in any order. Of one key at one instant there may be several; they complete each other."""

    key: Int
    known_at: Int
    values: Float

    def __len__(self) -> int:
        return len(self.key)

    def pick(self, rows: Int | Bool | slice) -> Said:
        """Return some of them."""
        return Said(self.key[rows], self.known_at[rows], self.values[:, rows])

    def then(self, later: Said) -> Said:
        """Return these, followed by others."""
        return Said(
            np.concatenate([self.key, later.key]),
            np.concatenate([self.known_at, later.known_at]),
            np.concatenate([self.values, later.values], axis=1),
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """What is to be kept of the given rows, and what they were."""

    kept: Said
    accepted: int
    """Rows that are the first of their key."""
    revised: int
    """Rows that changed a cell of a key, or filled it."""
    unchanged: int
    """Rows that did not."""


def judge_arrived(given: Said, present: Said, *, history: Bool, learnt: int | None) -> Judged:
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
    kept = Said(given.key[at_due], given.known_at[at_due], fresh[:, at_due])
    kept = kept.then(Said(given.key[late], after[late], whole[:, late]))
    accepted, revised = int(new.sum()), int((~new & differs.any(axis=0)).sum())
    return Judged(kept, accepted, revised, len(given) - accepted - revised)


def judge_dated(given: Said, present: Said) -> Judged:
    """Judge rows that tell when they became known, in the order in which they were told.

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


def revisions(said: Said) -> tuple[Int | None, Float]:
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


def _latest(keys: Int, said: Said) -> tuple[Int, Float]:
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


def _compare(said: Said) -> _Compared:
    order = order_of(said.key, said.known_at)
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


def _set_apart(said: Said, ours: Bool) -> None:
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
