"""Statements about keys, and what is known once they are read in order.

The store keeps *statements*: (key, known_at, values), where a missing value (NaN) says nothing about its variable. At
any instant, each variable of a key has the value that was last stated by then. A *revision* is a statement that changed
a value.

Keys are numbers (see `Keys`), instants are microseconds since the epoch, and values are (variable, row) arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.store.observations.keys import Bool, Float, Int, sort_order

NEVER = np.iinfo(np.int64).min
"""The `known_at` of a key without statements."""


@dataclass(frozen=True, slots=True)
class Statements:
    """Statements in any order. Several about one key at one instant complete each other."""

    key: Int
    known_at: Int
    values: Float
    source_time: Int | None = None
    """When the source says that the values became known; None if that is `known_at` for all rows."""

    def __len__(self) -> int:
        return len(self.key)

    @property
    def asserted_at(self) -> Int:
        """When the source says that the values became known: it may be before they were received."""
        return self.known_at if self.source_time is None else self.source_time

    def take(self, rows: Int | Bool | slice) -> Statements:
        """Return some of the statements."""
        source_time = None if self.source_time is None else self.source_time[rows]
        return Statements(self.key[rows], self.known_at[rows], self.values[:, rows], source_time)

    def concat(self, later: Statements) -> Statements:
        """Return these statements followed by others."""
        same = self.source_time is None and later.source_time is None
        return Statements(
            np.concatenate([self.key, later.key]),
            np.concatenate([self.known_at, later.known_at]),
            np.concatenate([self.values, later.values], axis=1),
            None if same else np.concatenate([self.asserted_at, later.asserted_at]),
        )

    def without_stated(self, stored: Statements, *, by_instant: bool) -> Statements:
        """Return what these statements add where `stored` has no value of the same key and variable.

        With `by_instant`, a value counts as stored only if it was asserted at the same instant. Statements that add no
        value to a stored one are left out.
        """
        both = self.concat(stored)
        group = number_pairs(both.key, both.asserted_at) if by_instant else both.key
        of_self, of_stored = group[: len(self)], group[len(self) :]
        present = [np.isin(of_self, of_stored[~np.isnan(values)]) for values in stored.values]
        values = np.where(present, np.nan, self.values)
        kept = ~np.isin(of_self, of_stored) | ~np.isnan(values).all(axis=0)
        return Statements(self.key, self.known_at, values, self.source_time).take(kept)

    def sort(self) -> Statements:
        """Return the statements by key, then `known_at`; equal ones keep their order."""
        order = sort_order(self.key, self.known_at)
        return self if order is None else self.take(order)


def revisions(statements: Statements) -> tuple[Int | None, Float]:
    """Reduce statements to those that changed a value, by key and `known_at`, with every known value filled in.

    Returns:
        The row of each revision, or None if all rows are revisions and sorted; and the (variable, row) values.
    """
    order = sort_order(statements.key, statements.known_at)
    ordered = statements if order is None else statements.take(order)
    starts = np.diff(ordered.key, prepend=-1) != 0
    if starts.all():
        return order, ordered.values
    single = starts & np.append(starts[1:], True)
    repeated = np.flatnonzero(~single)  # few, as a rule
    key, known_at = ordered.key[repeated], ordered.known_at[repeated]
    values = carry_forward(ordered.values[:, repeated], starts[repeated])
    ends = np.flatnonzero((np.diff(key, append=-1) != 0) | (np.diff(known_at, append=NEVER) != 0))
    current = values[:, ends]
    previous = np.roll(current, 1, axis=1)
    changed = ~((current == previous) | (np.isnan(current) & np.isnan(previous))).all(axis=0)
    changed |= np.diff(key[ends], prepend=-1) != 0
    filled = ordered.values.copy()
    filled[:, repeated] = values
    kept = np.sort(np.concatenate([np.flatnonzero(single), repeated[ends[changed]]]))
    return (kept if order is None else order[kept]), filled[:, kept]


def latest(keys: Int, statements: Statements) -> tuple[Int, Float]:
    """Return (known_at, values) of ascending keys after all statements; `NEVER` and NaN for a key without any."""
    ordered = statements.sort()
    ends = np.diff(ordered.key, append=-1) != 0
    values = ordered.values if ends.all() else carry_forward(ordered.values, np.roll(ends, 1))
    index = np.searchsorted(keys, ordered.key[ends])
    known_at = np.full(len(keys), NEVER, np.int64)
    known_at[index] = ordered.known_at[ends]
    state = np.full((len(values), len(keys)), np.nan)
    state[:, index] = values[:, ends]
    return known_at, state


def number_pairs(key: Int, instant: Int) -> Int:
    """Return numbers that ascend with key, then instant, and are equal where both are."""
    order = np.lexsort((instant, key))
    steps = (np.diff(key[order], prepend=-1) != 0) | (np.diff(instant[order], prepend=NEVER) != 0)
    number = np.empty(len(key), np.int64)
    number[order] = np.cumsum(steps)
    return number


def last_known(values: Float, starts: Bool) -> Int:
    """Return the (variable, row) index of the last value up to each row within its group, -1 if there is none.

    Args:
        values: (variable, row) values.
        starts: (row,) Whether a group begins at a row.
    """
    index = np.arange(values.shape[1])
    group = np.maximum.accumulate(np.where(starts, index, 0))
    last: Int = np.maximum.accumulate(np.where(np.isnan(values), -1, index), axis=1)
    last[last < group] = -1
    return last


def take_values(values: Float, index: Int) -> Float:
    """Return the values at (variable, row) indices, NaN where an index is -1."""
    return np.where(index < 0, np.nan, np.take_along_axis(values, np.maximum(index, 0), axis=1))


def carry_forward(values: Float, starts: Bool) -> Float:
    """Fill each missing value with the last one before it in its group."""
    return take_values(values, last_known(values, starts))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Statements, by key and `known_at`, compared with what was known just before each."""

    order: Int
    """The row of each statement."""
    news: Bool
    """Whether it states a value that was not known."""
    conflict: Bool
    """Whether it contradicts a statement of the same instant."""
    repeated: Bool
    """Whether all its values were stated at the same instant."""


def compare(statements: Statements, order: Int | None = None) -> Comparison:
    """Compare each statement with those before it, in the given order or by key and `known_at`."""
    order = sort_order(statements.key, statements.known_at) if order is None else order
    order = np.arange(len(statements)) if order is None else order
    ordered = statements.take(order)
    starts = np.diff(ordered.key, prepend=-1) != 0
    last = np.roll(last_known(ordered.values, starts), 1, axis=1)
    last[:, starts] = -1
    before = take_values(ordered.values, last)
    same_instant = (last >= 0) & (ordered.known_at[np.maximum(last, 0)] == ordered.known_at)
    stated = ~np.isnan(ordered.values)
    differs = stated & (ordered.values != before)
    follows = ~starts & (np.diff(ordered.known_at, prepend=NEVER) == 0)
    repeated = follows & (~stated | (same_instant & ~differs)).all(axis=0)
    return Comparison(order, differs.any(axis=0), (differs & same_instant).any(axis=0), repeated)


def resolve_conflicts(statements: Statements, movable: Bool) -> None:
    """Move each movable statement that contradicts one of its instant to the first later instant without a conflict.

    `known_at` is changed in place.
    """
    rows = np.arange(len(statements))
    while True:
        part = statements.take(rows)
        compared = compare(part)
        conflict = compared.order[compared.conflict & movable[rows][compared.order]]
        if not len(conflict):
            return
        # Only the first of an instant surely conflicts: the next may agree with that one.
        key, known_at = part.key[conflict], part.known_at[conflict]
        first = (np.diff(key, prepend=-1) != 0) | (np.diff(known_at, prepend=NEVER) != 0)
        statements.known_at[rows[conflict[first]]] += 1
        rows = rows[np.isin(part.key, key)]
