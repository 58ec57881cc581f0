from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from pipeline.store.observations import partitions
from pipeline.store.observations.keys import TIME, Keys
from pipeline.store.observations.partitions import (
    group_months,
    month_name,
    split_statements,
    to_microseconds,
    to_scalar,
)
from pipeline.store.observations.statements import Statements

MONTHS = {"2001-03": 4, "2000-12": 5, "2001-01": 6, "1999-01": 1}


@pytest.mark.parametrize(
    ("max_rows", "expected"),
    [
        (99, [("1999-01", "2001-03")]),
        (12, [("1999-01", "2001-01"), ("2001-03", "2001-03")]),
        (6, [("1999-01", "2000-12"), ("2001-01", "2001-01"), ("2001-03", "2001-03")]),
        (1, [(month, month) for month in sorted(MONTHS)]),  # a month is never split
    ],
)
def test_months_are_grouped_up_to_the_row_limit(
    monkeypatch: pytest.MonkeyPatch, max_rows: int, expected: list[tuple[str, str]]
) -> None:
    monkeypatch.setattr(partitions, "MAX_ROWS", max_rows)
    assert list(group_months(MONTHS, None, None)) == expected


def test_only_months_within_the_period_are_grouped() -> None:
    since = datetime(2001, 1, 1, 5, tzinfo=ZoneInfo("Pacific/Auckland"))  # December in UTC
    assert list(group_months(MONTHS, since, datetime(2001, 2, 28, tzinfo=UTC))) == [("2000-12", "2001-01")]
    assert list(group_months(MONTHS, datetime(2002, 1, 1, tzinfo=UTC), None)) == []
    assert list(group_months({}, None, None)) == []


def test_statements_are_split_so_that_stored_and_given_rows_fit_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    days = np.arange(0, 120, 10) * 86_400_000_000  # 4, 2, 3, 3 in the first four months of 1970
    table = pa.table(
        {"valid_time": pa.array(np.repeat(days, 2)).cast(TIME), "location": pa.array(["A", "B"] * len(days))}
    )
    keys, number = Keys.from_rows(table)
    given = Statements(number, np.zeros(len(number), np.int64), np.zeros((1, len(number))))
    empty: dict[str, int] = {}
    for max_rows, stored, expected in (
        (24, empty, [24]),
        (23, empty, [18, 6]),
        (12, empty, [12, 12]),
        (1, empty, [8, 4, 6, 6]),
        (24, {"1970-02": 13, "1971-01": 99}, [8, 10, 6]),
    ):
        monkeypatch.setattr(partitions, "MAX_ROWS", max_rows)
        groups = list(split_statements(given, keys, stored))
        assert [len(part) for part in groups] == expected
        assert np.concatenate([part.key for part in groups]).tolist() == number.tolist()


def test_months_are_months_of_utc() -> None:
    midnight = datetime(2001, 2, 1, tzinfo=ZoneInfo("Pacific/Auckland"))
    assert to_microseconds(midnight) == 980_938_800_000_000
    assert month_name(to_microseconds(midnight)) == "2001-01"
    assert month_name(-1) == "1969-12"
    assert to_scalar(to_microseconds(midnight)).as_py() == midnight
