from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.quality.quarantine import SCHEMA, Quarantine
from pipeline.sources.base import refused_table
from tests.world import make_product, make_settings

NOW = datetime(2001, 1, 10, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
ROWS = [
    (np.datetime64("2001-01-09"), "A", '{"wind_speed": 99}', "wind_speed 99 m s-1 is outside 0 to 60"),
    (None, None, '{"line": "x"}', "line 3 has 1 columns, not 2"),
]


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine")


def refused(*rows: tuple[np.datetime64 | None, str | None, str, str]) -> pa.Table:
    return refused_table(rows)


def test_an_empty_quarantine(quarantine: Quarantine) -> None:
    assert quarantine.read() == SCHEMA.empty_table()
    assert quarantine.reasons() == {}
    assert quarantine.add(refused(), at=NOW, payload="p") == 0
    assert not quarantine.table.exists


def test_a_refused_row_is_kept_with_reason_instant_and_payload(quarantine: Quarantine) -> None:
    assert quarantine.add(refused(*ROWS), at=NOW, payload="p") == 2
    assert quarantine.read().to_pylist() == [
        {
            "quarantined_at": NOW,
            "valid_time": datetime(2001, 1, 9, tzinfo=UTC),
            "location": "A",
            "values": '{"wind_speed": 99}',
            "reason": "wind_speed 99 m s-1 is outside 0 to 60",
            "payload": "p",
        },
        {
            "quarantined_at": NOW,
            "valid_time": None,
            "location": None,
            "values": '{"line": "x"}',
            "reason": "line 3 has 1 columns, not 2",
            "payload": "p",
        },
    ]


def test_the_same_row_of_the_same_payload_enters_once(quarantine: Quarantine) -> None:
    quarantine.add(refused(*ROWS), at=NOW, payload="p")
    assert quarantine.add(refused(*ROWS[::-1]), at=LATER, payload="p") == 0
    assert quarantine.add(refused(*ROWS), at=LATER, payload="another") == 2
    assert sorted(quarantine.read()["quarantined_at"].to_pylist()) == [NOW, NOW, LATER, LATER]


def test_what_is_new_of_a_payload_is_added(quarantine: Quarantine) -> None:
    quarantine.add(refused(ROWS[0]), at=NOW, payload="p")
    other_reason = (*ROWS[0][:3], "another reason")
    assert quarantine.add(refused(*ROWS, other_reason), at=LATER, payload="p") == 2
    assert len(quarantine.read()) == 3


def test_one_row_given_twice_enters_once(quarantine: Quarantine) -> None:
    assert quarantine.add(refused(ROWS[1], ROWS[1]), at=NOW, payload="p") == 1
    assert quarantine.add(refused(ROWS[1], ROWS[1]), at=NOW, payload="p") == 0


def test_hostile_text_is_kept_as_text(quarantine: Quarantine) -> None:
    # F37
    hostile = "'; DROP TABLE x; --<script>=cmd|' /C calc'!A0\u202e"
    quarantine.add(refused((None, hostile, hostile, hostile)), at=NOW, payload=hostile)
    (row,) = quarantine.read().to_pylist()
    assert {row["location"], row["values"], row["reason"], row["payload"]} == {hostile}
    assert quarantine.add(refused((None, hostile, hostile, hostile)), at=NOW, payload=hostile) == 0


def test_reasons_are_counted_by_kind(quarantine: Quarantine) -> None:
    more = [(None, "A", "{}", f"wind_speed {n} m s-1 is outside 0 to 60") for n in (70, 80)]
    quarantine.add(refused(*ROWS, *more), at=NOW, payload="p")
    assert list(quarantine.reasons().values()) == [3, 1]


def test_the_quarantine_of_a_product(tmp_path: Path) -> None:
    product, settings = make_product(tmp_path, days=3), make_settings(tmp_path)
    assert Quarantine.of(product, settings).table.path == settings.home / "products" / "tiny-wind" / "quarantine"
