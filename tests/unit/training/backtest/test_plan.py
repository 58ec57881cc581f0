from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.times import Cadence
from pipeline.training.backtest.plan import find_origins
from tests.world import make_product

DAY = timedelta(days=1)


def test_every_issue_time_belongs_to_the_last_origin_that_is_not_after_it(tmp_path: Path) -> None:
    cadence = Cadence.of(make_product(tmp_path))  # issued at 07:00
    since, until = datetime(2001, 3, 1, 7, tzinfo=UTC), datetime(2001, 3, 12, 7, tzinfo=UTC)
    origins = find_origins(cadence, since, until, 5 * DAY)
    assert [(one.number, one.at, len(one.issues)) for one in origins] == [
        (1, since, 5),
        (2, since + 5 * DAY, 5),
        (3, since + 10 * DAY, 2),
    ]
    assert [issue for one in origins for issue in one.issues] == list(cadence.issues(since, until))
    assert origins[1].issues[0] == origins[1].at


def test_an_origin_without_issue_times_is_left_out(tmp_path: Path) -> None:
    cadence = Cadence.of(make_product(tmp_path))
    since = datetime(2001, 3, 1, 8, tzinfo=UTC)
    origins = find_origins(cadence, since, since + 2 * DAY, DAY / 2)
    assert [(one.number, one.at) for one in origins] == [(1, since + DAY / 2), (2, since + 1.5 * DAY)]
