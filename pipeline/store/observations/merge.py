"""Merging of received rows with stored statements: which statements to add, and how many rows were new."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.store.observations.keys import Bool
from pipeline.store.observations.statements import NEVER, Statements, compare, latest, resolve_conflicts


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The statements to add for some received rows, and the number of rows by effect."""

    statements: Statements
    added: int
    """Rows that are the first of their key."""
    revised: int
    """Rows that changed a value of a key or filled a missing one."""
    unchanged: int
    """Rows that did neither."""


def merge_undated(given: Statements, stored: Statements, *, history: Bool, received_at: int | None) -> MergeResult:
    """Merge rows without `known_at`.

    A value that was missing is history where `history` is true: it was known when it was due. Any other new or changed
    value became known at `received_at`, or right after the value that it changes if that is later. Without
    `received_at`, as for an archive, it became known right after the value that it changes. The statement of a value
    that is not history repeats the other known values of its key.

    Args:
        given: One row per key, ascending; `known_at` is when the row was due.
        stored: The stored statements of these keys.
        history: (row,) Whether a row is from before the store existed.
        received_at: When the rows were received.
    """
    if len(stored):
        known, state = latest(given.key, stored)
    else:
        known, state = np.full(len(given), NEVER, np.int64), np.full_like(given.values, np.nan)
    new, empty = known == NEVER, np.isnan(state)
    stated = ~np.isnan(given.values)
    differs = stated & (given.values != state)
    at_due = history & (new | (differs & empty).any(axis=0))
    late = (new & ~history) | np.where(history, differs & ~empty, differs & ~new).any(axis=0)
    after = known + 1 if received_at is None else np.where(new, received_at, np.maximum(received_at, known + 1))
    filling = np.where(empty, given.values, np.nan)
    complete = np.where(stated & ~(history & empty), given.values, state)
    added = Statements(given.key[at_due], given.known_at[at_due], filling[:, at_due])
    added = added.concat(Statements(given.key[late], after[late], complete[:, late]))
    news, revised = int(new.sum()), int((~new & differs.any(axis=0)).sum())
    return MergeResult(added, news, revised, len(given) - news - revised)


def merge_archive(given: Statements, stored: Statements) -> MergeResult:
    """Merge rows of an archive that have `known_at`, in the order in which they were received.

    A row is added unless all its values are already stated of its instant. A row that repeats what was known just
    before is added too: it says that the value still held, which matters once a row in between arrives. Of two rows
    that contradict each other about one key and one instant, the later one takes effect a microsecond after the other.
    """
    statements = stored.concat(given)
    is_given = np.arange(len(statements)) >= len(stored)
    compared = compare(statements)
    if (compared.conflict & is_given[compared.order]).any():
        resolve_conflicts(statements, is_given)
        compared = compare(statements)
    ordered, ordered_given = statements.take(compared.order), is_given[compared.order]
    starts = np.diff(ordered.key, prepend=-1) != 0
    first = ordered_given & starts & ~np.isin(ordered.key, stored.key)
    changed = ordered_given & ~first & compared.news
    added = np.sort(compared.order[ordered_given & ~compared.repeated])
    new, revised = int(first.sum()), int(changed.sum())
    return MergeResult(statements.take(added), new, revised, len(given) - new - revised)
