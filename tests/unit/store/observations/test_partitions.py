from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from pipeline.store.observations import partitions
from pipeline.store.observations.keys import TIME, Keys
from pipeline.store.observations.partitions import instant, micros, month_at, parts, runs
from pipeline.store.observations.revisions import Statements

MONTHS = {"2001-03": 4, "2000-12": 5, "2001-01": 6, "1999-01": 1}


@pytest.mark.parametrize(
    ("at_once", "expected"),
    [
        (99, [("1999-01", "2001-03")]),
        (12, [("1999-01", "2001-01"), ("2001-03", "2001-03")]),
        (6, [("1999-01", "2000-12"), ("2001-01", "2001-01"), ("2001-03", "2001-03")]),
        (1, [(month, month) for month in sorted(MONTHS)]),  # a month is never cut
    ],
)
def test_months_are_read_together_while_they_are_small(
    monkeypatch: pytest.MonkeyPatch, at_once: int, expected: list[tuple[str, str]]
) -> None:
    monkeypatch.setattr(partitions, "ROWS_AT_ONCE", at_once)
    assert list(runs(MONTHS, None, None)) == expected


def test_only_months_of_the_period_are_read() -> None:
    since = datetime(2001, 1, 1, 5, tzinfo=ZoneInfo("Pacific/Auckland"))  # December in UTC
    assert list(runs(MONTHS, since, datetime(2001, 2, 28, tzinfo=UTC))) == [("2000-12", "2001-01")]
    assert list(runs(MONTHS, datetime(2002, 1, 1, tzinfo=UTC), None)) == []
    assert list(runs({}, None, None)) == []


def test_rows_are_judged_together_while_they_and_what_is_stored_beside_them_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    days = np.arange(0, 120, 10) * 86_400_000_000  # 4, 2, 3, 3 in the first four months of 1970
    table = pa.table(
        {"valid_time": pa.array(np.repeat(days, 2)).cast(TIME), "location": pa.array(["A", "B"] * len(days))}
    )
    keys, number = Keys.of(table)
    given = Statements(number, np.zeros(len(number), np.int64), np.zeros((1, len(number))))
    nothing: dict[str, int] = {}
    for at_once, stored, expected in (
        (24, nothing, [24]),
        (23, nothing, [18, 6]),
        (12, nothing, [12, 12]),
        (1, nothing, [8, 4, 6, 6]),
        (24, {"1970-02": 13, "1971-01": 99}, [8, 10, 6]),
    ):
        monkeypatch.setattr(partitions, "ROWS_AT_ONCE", at_once)
        taken = list(parts(given, keys, stored))
        assert [len(part) for part in taken] == expected
        assert np.concatenate([part.key for part in taken]).tolist() == number.tolist()


def test_instants_are_microseconds_and_months_are_those_of_utc() -> None:
    midnight = datetime(2001, 2, 1, tzinfo=ZoneInfo("Pacific/Auckland"))
    assert micros(midnight) == 980_938_800_000_000
    assert month_at(micros(midnight)) == "2001-01"
    assert month_at(-1) == "1969-12"
    assert instant(micros(midnight)).as_py() == midnight
