"""Merging of dated rows of a live feed, which never changes what was known in the past."""

from __future__ import annotations

import numpy as np

from pipeline.store.observations.keys import Bool, Int
from pipeline.store.observations.merge import MergeResult
from pipeline.store.observations.statements import (
    NEVER,
    Statements,
    compare,
    last_known,
    number_pairs,
    resolve_conflicts,
    take_values,
)


def merge_live(given: Statements, stored: Statements, *, received_at: int, history_until: int | None) -> MergeResult:
    """Merge rows of a live feed that have `known_at`: what was known in the past changes only by loading history.

    Rows asserted by `history_until` became known when asserted, all others when received at the earliest. From then on
    the value asserted last counts, so a value asserted before one that is already known is left out. A value that
    contradicts a stored one asserted at the same instant became known when received, and after the value it corrects.

    Args:
        given: Rows whose `known_at` is when the source asserted them.
        stored: The stored statements of these keys.
        received_at: When the rows were received.
        history_until: The end of history; None if no history is being loaded.
    """
    rows = np.arange(len(given))
    given = Statements(given.key, given.known_at.copy(), given.values.copy())
    resolve_conflicts(given, np.ones(len(given), bool))
    repeated = _repeats_earlier_row(given)
    given.values[repeated] = np.nan
    same, corrected_at = _compare_with_stored(given, stored)
    stated = ~np.isnan(given.values)
    contradicts = stated & ~same & (corrected_at != NEVER)
    late = np.ones(len(given), bool) if history_until is None else given.known_at > history_until
    known_at = np.where(late, np.maximum(given.known_at, received_at), given.known_at)
    after = np.maximum(np.where(contradicts, corrected_at + 1, NEVER).max(axis=0, initial=NEVER), received_at)
    corrects = contradicts.any(axis=0)
    fresh = np.where(same | contradicts, np.nan, given.values)
    useful = (stated & ~same & ~contradicts).any(axis=0) | (~stated.any(axis=0) & ~repeated.any(axis=0))
    corrections = np.where(contradicts, given.values, np.nan)
    added = Statements(given.key[useful], known_at[useful], fresh[:, useful], given.known_at[useful]).concat(
        Statements(given.key[corrects], after[corrects], corrections[:, corrects], given.known_at[corrects])
    )
    row = np.concatenate([rows[useful], rows[corrects]])
    added, kept = _drop_overtaken(added, stored)
    added, row = added.take(kept), row[kept]
    return _count(added, row, stored, len(given))


def _count(added: Statements, row: Int, stored: Statements, given: int) -> MergeResult:
    """Count the given rows by effect; `row` is the given row of each added statement."""
    compared = compare(stored.concat(added))
    is_added = compared.order >= len(stored)
    index = compared.order[is_added] - len(stored)
    starts = np.diff(added.key[index], prepend=-1) != 0
    first = np.isin(row, row[index[starts & ~np.isin(added.key[index], stored.key)]])
    new = len(np.unique(row[first]))
    news = np.zeros(len(added), bool)
    news[index] = compared.news[is_added]
    revised = len(np.unique(row[news & ~first]))
    return MergeResult(added, new, revised, given - new - revised)


def _repeats_earlier_row(given: Statements) -> Bool:
    """Return, as (variable, row), whether an earlier row of the same key and instant has the same value."""
    order = np.lexsort((np.arange(len(given)), given.asserted_at, given.key))
    ordered = given.take(order)
    starts = _starts_assertion(ordered)
    last = np.roll(last_known(ordered.values, starts), 1, axis=1)
    last[:, starts] = -1
    repeated = np.empty(given.values.shape, bool)
    repeated[:, order] = ordered.values == take_values(ordered.values, last)
    return repeated


def _compare_with_stored(given: Statements, stored: Statements) -> tuple[Bool, Int]:
    """Compare values with the stored ones of the same key and `asserted_at`, of which the one known last counts.

    Returns:
        As (variable, row): whether the stored value is equal, and when it became known; `NEVER` if there is none.
    """
    both = stored.concat(given)
    is_given = np.arange(len(both)) >= len(stored)
    known_at = np.where(is_given, np.iinfo(np.int64).max, both.known_at)  # given rows come last
    order = np.lexsort((np.arange(len(both)), known_at, both.asserted_at, both.key))
    ordered = both.take(order)
    values = np.where(is_given[order], np.nan, ordered.values)
    last = last_known(values, _starts_assertion(ordered))
    position = np.empty(len(both), np.int64)
    position[order] = np.arange(len(both))
    last = last[:, position[is_given]]
    since = np.where(last < 0, NEVER, ordered.known_at[np.maximum(last, 0)])
    return given.values == take_values(values, last), since


def _starts_assertion(ordered: Statements) -> Bool:
    """Return whether each statement, ordered by key and `asserted_at`, differs in them from the one before."""
    starts: Bool = (np.diff(ordered.key, prepend=-1) != 0) | (np.diff(ordered.asserted_at, prepend=NEVER) != 0)
    return starts


def _drop_overtaken(added: Statements, stored: Statements) -> tuple[Statements, Int]:
    """Drop values asserted before those known by then; move statements that contradict one of their instant after it.

    Returns:
        All statements, with new instants and values; and the rows that still state anything, ascending.
    """
    known_at = added.known_at.copy()
    while True:
        both = stored.concat(Statements(added.key, known_at, added.values, added.asserted_at))
        is_added = np.arange(len(both)) >= len(stored)
        stated = ~np.isnan(both.values)
        rank = number_pairs(both.key, both.asserted_at)
        order = np.lexsort((-rank, both.known_at, both.key))
        newest = np.empty_like(stated, np.int64)
        newest[:, order] = np.maximum.accumulate(np.where(stated, rank, -1)[:, order], axis=1)
        overtaken = stated & (newest > rank) & is_added
        values = np.where(overtaken, np.nan, both.values)
        compared = compare(
            Statements(both.key, both.known_at, values),
            order=np.lexsort((rank, is_added, both.known_at, both.key)),
        )
        conflict = compared.order[compared.conflict & is_added[compared.order]]
        if not len(conflict):
            break
        known_at[conflict - len(stored)] += 1
    starts = np.zeros(len(both), bool)
    starts[order] = np.diff(both.key[order], prepend=-1) != 0
    kept = np.flatnonzero((~np.isnan(values).all(axis=0) | starts)[is_added])
    return Statements(added.key, known_at, values[:, is_added], added.asserted_at), kept
