from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.registry.score_history import ScoreHistoryTable
from pipeline.store.objects import open_store
from pipeline.training.history import PairedScores

START = datetime(2002, 1, 1, 7, tzinfo=UTC)
NAN = float("nan")
OPEN = timedelta(days=2)


def _issues(first: int, last: int) -> list[datetime]:
    return [START + n * timedelta(days=1) for n in range(first, last)]


def _night(first: int, last: int, score: float) -> tuple[list[datetime], NDArray[np.float64]]:
    return _issues(first, last), np.full((2, last - first), score)


def test_later_nights_add_only_issue_times_that_are_new() -> None:
    first = PairedScores.empty().extended(*_night(0, 10, 1.0), OPEN)
    second = first.extended(*_night(3, 12, 2.0), OPEN)
    assert (first.batch, second.batch) == (10, 10)
    np.testing.assert_array_equal(second.scores, np.full((2, 12), 1.0) + (np.arange(12) >= 10))
    assert (np.diff(second.issues) == np.timedelta64(1, "D")).all()


def test_an_issue_time_without_a_score_of_both_is_no_case() -> None:
    issues, scores = _night(0, 4, 1.0)
    scores[0, 1], scores[1, 2] = NAN, np.inf
    found = PairedScores.empty().extended(issues, scores, OPEN)
    assert found.scores.shape == (2, 2)
    assert found.batch == 2


def test_forecasts_are_open_from_their_issue_time_until_their_last_value_is_due() -> None:
    days = PairedScores.empty().extended(*_night(0, 10, 1.0), OPEN)
    assert [days.overlap(timedelta(hours=hours)) for hours in (0, 24, 25, 72)] == [1, 1, 2, 3]
    assert PairedScores.empty().overlap(timedelta(days=3)) == 1


def test_issue_times_that_are_closer_than_those_of_the_first_night_are_left_out() -> None:
    """Twelve-hourly retrains after a first night of daily issue times, whose forecasts are open for two days."""
    first = PairedScores.empty().extended(*_night(0, 10, 1.0), OPEN)
    times = [START + n * timedelta(hours=12) for n in range(30)]
    later = first.extended(times, np.full((2, 30), 2.0), OPEN)
    assert later.overlap(OPEN) == first.overlap(OPEN) == 2
    assert set(np.diff(later.issues[9:])) == {np.timedelta64(24, "h")}
    assert later.scores.shape == (2, len(later.issues))


def test_a_replayed_night_sees_no_later_score() -> None:
    scores = PairedScores.empty().extended(*_night(0, 10, 1.0), OPEN).extended(*_night(0, 14, 1.0), OPEN)
    found = scores.until(START + timedelta(days=11))
    assert (len(found.issues), found.batch) == (12, 10)
    assert scores.until(START + timedelta(days=4)).batch == 5


def test_the_table_keeps_the_first_score_of_each_pair(tmp_path: Path) -> None:
    table = ScoreHistoryTable(open_store(tmp_path / "history"))
    assert table.read() == {}
    first = PairedScores.empty().extended(*_night(0, 10, 1.0), OPEN)
    table.add({("a", "b"): first})
    other = PairedScores.empty().extended(*_night(5, 12, 3.0), OPEN)
    table.add({("a", "b"): first.extended(*_night(8, 12, 2.0), OPEN), ("b", "a"): other})
    version = table.table.version
    table.add({("a", "b"): PairedScores.empty().extended(*_night(0, 12, 9.0), OPEN)})
    found = table.read()
    assert found.keys() == {("a", "b"), ("b", "a")}
    np.testing.assert_array_equal(found["a", "b"].scores[0], [1.0] * 10 + [2.0] * 2)
    assert (found["a", "b"].batch, found["b", "a"].batch) == (10, 7)
    np.testing.assert_array_equal(found["b", "a"].issues, other.issues)
    assert table.table.version == version  # nothing was added
