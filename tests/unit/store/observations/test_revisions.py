from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.store.observations.revisions import (
    Judged,
    Statements,
    merge_archive,
    merge_live,
    merge_undated,
    revisions,
)

_ = float("nan")
Statement = tuple[int, int, float, float]  # key, known_at, u, v


def said(*statements: Statement) -> Statements:
    columns: Sequence[Sequence[float]] = list(zip(*statements, strict=True)) or [[]] * 4
    key, known_at, *values = columns
    return Statements(np.array(key, np.int64), np.array(known_at, np.int64), np.array(values, np.float64))


def kept(judged: Judged) -> list[tuple[float, ...]]:
    rows = zip(judged.kept.key, judged.kept.known_at, *judged.kept.values, strict=True)
    return sorted(tuple(map(float, row)) for row in rows)


def counts(judged: Judged) -> tuple[int, int, int]:
    return judged.accepted, judged.revised, judged.unchanged


def same(one: list[tuple[float, ...]], other: list[Statement]) -> bool:
    return np.array_equal(np.array(one).reshape(-1, 4), np.array(other, float).reshape(-1, 4), equal_nan=True)


PRESENT = said((0, 10, 1, _), (1, 10, 1, 1), (1, 50, 2, _), (2, 90, _, _))


@pytest.mark.parametrize(
    ("given", "history", "learnt", "expected", "count"),
    [
        ((5, 7, 1, _), True, 40, [(5, 7, 1, _)], (1, 0, 0)),
        ((5, 7, 1, _), False, 40, [(5, 40, 1, _)], (1, 0, 0)),
        ((5, 7, _, _), False, 40, [(5, 40, _, _)], (1, 0, 0)),
        ((0, 7, 1, _), True, 40, [], (0, 0, 1)),
        ((0, 7, _, _), False, 40, [], (0, 0, 1)),
        ((0, 7, _, 3), True, 40, [(0, 7, _, 3)], (0, 1, 0)),  # a cell that had no value: history
        ((0, 7, _, 3), False, 40, [(0, 40, 1, 3)], (0, 1, 0)),  # or news, and the row is told whole
        ((0, 7, 2, 3), True, 40, [(0, 7, _, 3), (0, 40, 2, _)], (0, 1, 0)),  # one cell is history, one corrected
        ((0, 7, 2, 3), False, 40, [(0, 40, 2, 3)], (0, 1, 0)),
        ((1, 7, 3, _), False, 40, [(1, 51, 3, 1)], (0, 1, 0)),  # the clock went back: right after the newest
        ((1, 7, 2, 1), False, 40, [], (0, 0, 1)),  # the newest is what counts, cell by cell
        ((1, 7, 1, _), True, None, [(1, 51, 1, 1)], (0, 1, 0)),  # an archive
        ((2, 7, 4, _), True, None, [(2, 7, 4, _)], (0, 1, 0)),
        ((5, 7, 4, _), True, None, [(5, 7, 4, _)], (1, 0, 0)),
    ],
)
def test_rows_that_do_not_tell_when_they_became_known(
    given: Statement, history: bool, learnt: int | None, expected: list[Statement], count: tuple[int, int, int]
) -> None:
    present = PRESENT.pick(PRESENT.key == given[0])
    judged = merge_undated(said(given), present, history=np.array([history]), learnt=learnt)
    assert same(kept(judged), expected)
    assert counts(judged) == count


def test_many_rows_are_judged_each_by_its_key() -> None:
    given = said((0, 7, 1, _), (1, 7, 3, 1), (3, 7, 3, 3))
    present = PRESENT.pick(PRESENT.key < 2)
    judged = merge_undated(given, present, history=np.array([True, True, False]), learnt=60)
    assert same(kept(judged), [(1, 60, 3, 1), (3, 60, 3, 3)])
    assert counts(judged) == (1, 1, 1)
    nothing = merge_undated(given, said(), history=np.array([True, False, True]), learnt=60)
    assert same(kept(nothing), [(0, 7, 1, _), (1, 60, 3, 1), (3, 7, 3, 3)])


@pytest.mark.parametrize(
    ("given", "expected", "count"),
    [
        ([(0, 10, 1, _)], [], (0, 0, 1)),
        ([(0, 10, _, _)], [], (0, 0, 1)),
        ([(0, 10, _, 3)], [(0, 10, _, 3)], (0, 1, 0)),
        ([(0, 20, 1, _)], [(0, 20, 1, _)], (0, 0, 1)),  # it still held: kept, and no revision
        ([(0, 5, 1, _)], [(0, 5, 1, _)], (0, 1, 0)),  # it was known earlier than was thought
        ([(1, 30, 1, 7)], [(1, 30, 1, 7)], (0, 1, 0)),
        ([(1, 10, 2, 1)], [(1, 11, 2, 1)], (0, 1, 0)),  # it contradicts what was said of that instant
        ([(1, 10, 2, 1), (1, 10, 3, 1)], [(1, 11, 2, 1), (1, 12, 3, 1)], (0, 2, 0)),
        ([(1, 10, 2, 1), (1, 10, 2, 1)], [(1, 11, 2, 1)], (0, 1, 1)),
        ([(5, 9, 1, 1), (5, 8, 1, 1), (5, 9, 1, 1)], [(5, 8, 1, 1), (5, 9, 1, 1)], (1, 0, 2)),
        ([(5, 9, 1, _), (5, 9, _, 2)], [(5, 9, 1, _), (5, 9, _, 2)], (1, 1, 0)),
    ],
)
def test_rows_that_tell_when_they_became_known(
    given: list[Statement], expected: list[Statement], count: tuple[int, int, int]
) -> None:
    judged = merge_archive(said(*given), PRESENT.pick(PRESENT.key == given[0][0]))
    assert same(kept(judged), expected)
    assert counts(judged) == count


def test_many_that_contradict_each_other_are_set_one_after_the_other() -> None:
    judged = merge_archive(said(*((7, 100, float(n), _) for n in range(30))), said())
    assert same(kept(judged), [(7, 100 + n, float(n), _) for n in range(30)])
    assert counts(judged) == (1, 29, 0)


@pytest.mark.parametrize(
    ("given", "until", "expected", "count"),
    [
        ([(0, 10, 1, _)], 50, [], (0, 0, 1)),
        ([(0, 10, 2, _)], 50, [(0, 90, 2, _)], (0, 1, 0)),  # it contradicts what is stored: never in the past
        ([(0, 10, 2, 3)], 50, [(0, 10, _, 3), (0, 90, 2, _)], (0, 1, 0)),  # one cell fills, one corrects
        ([(0, 10, 2, 3)], None, [(0, 90, 2, _), (0, 90, _, 3)], (0, 1, 0)),
        ([(0, 20, 2, _)], 50, [(0, 20, 2, _)], (0, 1, 0)),
        ([(0, 20, 2, _)], 15, [(0, 90, 2, _)], (0, 1, 0)),
        ([(0, 95, 2, _)], 15, [(0, 95, 2, _)], (0, 1, 0)),
        ([(1, 20, 7, 7)], None, [(1, 90, _, 7)], (0, 1, 0)),  # u was said at 50
        ([(1, 10, 7, 1)], 50, [], (0, 0, 1)),  # a correction of what has been overtaken
        ([(5, 20, 1, _), (5, 10, 2, 2)], None, [(5, 90, 1, _), (5, 90, _, 2)], (1, 1, 0)),
        ([(5, 20, 1, 1), (5, 10, 2, 2)], None, [(5, 90, 1, 1)], (1, 0, 1)),
        ([(5, 20, 1, 1), (5, 20, 2, 2)], 50, [(5, 20, 1, 1), (5, 21, 2, 2)], (1, 1, 0)),
        ([(5, 20, _, _)], None, [(5, 90, _, _)], (1, 0, 0)),
    ],
)
def test_rows_of_a_live_feed_that_tell_when_they_became_known(
    given: list[Statement], until: int | None, expected: list[Statement], count: tuple[int, int, int]
) -> None:
    judged = merge_live(said(*given), PRESENT.pick(PRESENT.key == given[0][0]), learnt=90, until=until)
    assert np.array_equal(*(np.array(sorted(map(str, rows))) for rows in (kept(judged), _floats(expected))))
    assert counts(judged) == count


def _floats(statements: list[Statement]) -> list[tuple[float, ...]]:
    return [tuple(map(float, one)) for one in statements]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([(0, 1, 1, 1), (1, 1, 1, _)], [(0, 1, 1, 1), (1, 1, 1, _)]),
        ([(0, 1, 1, _), (0, 2, _, 2), (0, 3, 3, _)], [(0, 1, 1, _), (0, 2, 1, 2), (0, 3, 3, 2)]),  # filled
        ([(0, 1, 1, _), (0, 2, 1, _), (0, 3, _, _)], [(0, 1, 1, _)]),  # nothing new
        ([(0, 1, 1, _), (0, 2, 2, _), (0, 3, 1, _)], [(0, 1, 1, _), (0, 2, 2, _), (0, 3, 1, _)]),  # there and back
        ([(0, 1, 1, _), (0, 1, _, 2)], [(0, 1, 1, 2)]),  # of one instant: one
        ([(0, 1, _, _), (0, 2, 1, _), (1, 0, 1, _)], [(0, 1, _, _), (0, 2, 1, _), (1, 0, 1, _)]),
    ],
)
def test_what_statements_come_to(told: list[Statement], expected: list[Statement], turned: bool) -> None:
    given = said(*(told[::-1] if turned else told))
    place, values = revisions(given)
    rows = given if place is None else given.pick(place)
    got = [tuple(map(float, row)) for row in zip(rows.key, rows.known_at, *values, strict=True)]
    assert same(got, expected)


def test_rows_as_they_are_need_no_new_order() -> None:
    given = said((0, 9, 1, _), (1, 5, 1, _), (4, 2, 1, 1))
    place, values = revisions(given)
    assert place is None
    assert values is given.values
