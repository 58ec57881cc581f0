from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.store.observations.merge import MergeResult, merge_archive, merge_undated
from pipeline.store.observations.merge_live import merge_live
from pipeline.store.observations.statements import Statements, revisions

_ = float("nan")
Statement = tuple[int, int, float, float]  # key, known_at, u, v


def make_statements(*statements: Statement) -> Statements:
    columns: Sequence[Sequence[float]] = list(zip(*statements, strict=True)) or [[]] * 4
    key, known_at, *values = columns
    return Statements(np.array(key, np.int64), np.array(known_at, np.int64), np.array(values, np.float64))


def added(merged: MergeResult) -> list[tuple[float, ...]]:
    rows = zip(merged.statements.key, merged.statements.known_at, *merged.statements.values, strict=True)
    return sorted(tuple(map(float, row)) for row in rows)


def counts(merged: MergeResult) -> tuple[int, int, int]:
    return merged.added, merged.revised, merged.unchanged


def same(one: list[tuple[float, ...]], other: list[Statement]) -> bool:
    return np.array_equal(np.array(one).reshape(-1, 4), np.array(other, float).reshape(-1, 4), equal_nan=True)


STORED = make_statements((0, 10, 1, _), (1, 10, 1, 1), (1, 50, 2, _), (2, 90, _, _))


@pytest.mark.parametrize(
    ("given", "history", "received_at", "expected", "count"),
    [
        ((5, 7, 1, _), True, 40, [(5, 7, 1, _)], (1, 0, 0)),
        ((5, 7, 1, _), False, 40, [(5, 40, 1, _)], (1, 0, 0)),
        ((5, 7, _, _), False, 40, [(5, 40, _, _)], (1, 0, 0)),
        ((0, 7, 1, _), True, 40, [], (0, 0, 1)),
        ((0, 7, _, _), False, 40, [], (0, 0, 1)),
        ((0, 7, _, 3), True, 40, [(0, 7, _, 3)], (0, 1, 0)),  # a missing value: history
        ((0, 7, _, 3), False, 40, [(0, 40, 1, 3)], (0, 1, 0)),  # or news, with the complete row
        ((0, 7, 2, 3), True, 40, [(0, 7, _, 3), (0, 40, 2, _)], (0, 1, 0)),  # one value is history, one a correction
        ((0, 7, 2, 3), False, 40, [(0, 40, 2, 3)], (0, 1, 0)),
        ((1, 7, 3, _), False, 40, [(1, 51, 3, 1)], (0, 1, 0)),  # the clock went back: right after the newest
        ((1, 7, 2, 1), False, 40, [], (0, 0, 1)),  # the newest value of each variable counts
        ((1, 7, 1, _), True, None, [(1, 51, 1, 1)], (0, 1, 0)),  # an archive
        ((2, 7, 4, _), True, None, [(2, 7, 4, _)], (0, 1, 0)),
        ((5, 7, 4, _), True, None, [(5, 7, 4, _)], (1, 0, 0)),
    ],
)
def test_merging_undated_rows(
    given: Statement, history: bool, received_at: int | None, expected: list[Statement], count: tuple[int, int, int]
) -> None:
    stored = STORED.take(STORED.key == given[0])
    merged = merge_undated(make_statements(given), stored, history=np.array([history]), received_at=received_at)
    assert same(added(merged), expected)
    assert counts(merged) == count


def test_undated_rows_are_merged_by_key() -> None:
    given = make_statements((0, 7, 1, _), (1, 7, 3, 1), (3, 7, 3, 3))
    stored = STORED.take(STORED.key < 2)
    merged = merge_undated(given, stored, history=np.array([True, True, False]), received_at=60)
    assert same(added(merged), [(1, 60, 3, 1), (3, 60, 3, 3)])
    assert counts(merged) == (1, 1, 1)
    empty = merge_undated(given, make_statements(), history=np.array([True, False, True]), received_at=60)
    assert same(added(empty), [(0, 7, 1, _), (1, 60, 3, 1), (3, 7, 3, 3)])


@pytest.mark.parametrize(
    ("given", "expected", "count"),
    [
        ([(0, 10, 1, _)], [], (0, 0, 1)),
        ([(0, 10, _, _)], [], (0, 0, 1)),
        ([(0, 10, _, 3)], [(0, 10, _, 3)], (0, 1, 0)),
        ([(0, 20, 1, _)], [(0, 20, 1, _)], (0, 0, 1)),  # it still held: added, but not a revision
        ([(0, 5, 1, _)], [(0, 5, 1, _)], (0, 1, 0)),  # it was known earlier than stored
        ([(1, 30, 1, 7)], [(1, 30, 1, 7)], (0, 1, 0)),
        ([(1, 10, 2, 1)], [(1, 11, 2, 1)], (0, 1, 0)),  # it contradicts a statement of that instant
        ([(1, 10, 2, 1), (1, 10, 3, 1)], [(1, 11, 2, 1), (1, 12, 3, 1)], (0, 2, 0)),
        ([(1, 10, 2, 1), (1, 10, 2, 1)], [(1, 11, 2, 1)], (0, 1, 1)),
        ([(5, 9, 1, 1), (5, 8, 1, 1), (5, 9, 1, 1)], [(5, 8, 1, 1), (5, 9, 1, 1)], (1, 0, 2)),
        ([(5, 9, 1, _), (5, 9, _, 2)], [(5, 9, 1, _), (5, 9, _, 2)], (1, 1, 0)),
    ],
)
def test_merging_dated_rows_of_an_archive(
    given: list[Statement], expected: list[Statement], count: tuple[int, int, int]
) -> None:
    merged = merge_archive(make_statements(*given), STORED.take(STORED.key == given[0][0]))
    assert same(added(merged), expected)
    assert counts(merged) == count


def test_contradicting_rows_of_an_archive_take_effect_one_after_the_other() -> None:
    merged = merge_archive(make_statements(*((7, 100, float(n), _) for n in range(30))), make_statements())
    assert same(added(merged), [(7, 100 + n, float(n), _) for n in range(30)])
    assert counts(merged) == (1, 29, 0)


@pytest.mark.parametrize(
    ("given", "history_until", "expected", "count"),
    [
        ([(0, 10, 1, _)], 50, [], (0, 0, 1)),
        ([(0, 10, 2, _)], 50, [(0, 90, 2, _)], (0, 1, 0)),  # it contradicts a stored value: never in the past
        ([(0, 10, 2, 3)], 50, [(0, 10, _, 3), (0, 90, 2, _)], (0, 1, 0)),  # one value fills, one corrects
        ([(0, 10, 2, 3)], None, [(0, 90, 2, _), (0, 90, _, 3)], (0, 1, 0)),
        ([(0, 20, 2, _)], 50, [(0, 20, 2, _)], (0, 1, 0)),
        ([(0, 20, 2, _)], 15, [(0, 90, 2, _)], (0, 1, 0)),
        ([(0, 95, 2, _)], 15, [(0, 95, 2, _)], (0, 1, 0)),
        ([(1, 20, 7, 7)], None, [(1, 90, _, 7)], (0, 1, 0)),  # u was asserted at 50
        ([(1, 10, 7, 1)], 50, [], (0, 0, 1)),  # a correction of an overtaken value
        ([(5, 20, 1, _), (5, 10, 2, 2)], None, [(5, 90, 1, _), (5, 90, _, 2)], (1, 1, 0)),
        ([(5, 20, 1, 1), (5, 10, 2, 2)], None, [(5, 90, 1, 1)], (1, 0, 1)),
        ([(5, 20, 1, 1), (5, 20, 2, 2)], 50, [(5, 20, 1, 1), (5, 21, 2, 2)], (1, 1, 0)),
        ([(5, 20, _, _)], None, [(5, 90, _, _)], (1, 0, 0)),
    ],
)
def test_merging_dated_rows_of_a_live_feed(
    given: list[Statement], history_until: int | None, expected: list[Statement], count: tuple[int, int, int]
) -> None:
    merged = merge_live(
        make_statements(*given), STORED.take(STORED.key == given[0][0]), received_at=90, history_until=history_until
    )
    found, wanted = (np.array(sorted(map(str, rows))) for rows in (added(merged), _floats(expected)))
    assert np.array_equal(found, wanted)
    assert counts(merged) == count


def _floats(statements: list[Statement]) -> list[tuple[float, ...]]:
    return [tuple(map(float, one)) for one in statements]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([(0, 1, 1, 1), (1, 1, 1, _)], [(0, 1, 1, 1), (1, 1, 1, _)]),
        ([(0, 1, 1, _), (0, 2, _, 2), (0, 3, 3, _)], [(0, 1, 1, _), (0, 2, 1, 2), (0, 3, 3, 2)]),  # filled
        ([(0, 1, 1, _), (0, 2, 1, _), (0, 3, _, _)], [(0, 1, 1, _)]),  # unchanged
        ([(0, 1, 1, _), (0, 2, 2, _), (0, 3, 1, _)], [(0, 1, 1, _), (0, 2, 2, _), (0, 3, 1, _)]),  # changed back
        ([(0, 1, 1, _), (0, 1, _, 2)], [(0, 1, 1, 2)]),  # one revision per instant
        ([(0, 1, _, _), (0, 2, 1, _), (1, 0, 1, _)], [(0, 1, _, _), (0, 2, 1, _), (1, 0, 1, _)]),
    ],
)
def test_revisions_of_statements(statements: list[Statement], expected: list[Statement], reverse: bool) -> None:
    given = make_statements(*(statements[::-1] if reverse else statements))
    order, values = revisions(given)
    rows = given if order is None else given.take(order)
    got = [tuple(map(float, row)) for row in zip(rows.key, rows.known_at, *values, strict=True)]
    assert same(got, expected)


def test_sorted_revisions_are_returned_without_an_order() -> None:
    given = make_statements((0, 9, 1, _), (1, 5, 1, _), (4, 2, 1, 1))
    order, values = revisions(given)
    assert order is None
    assert values is given.values
