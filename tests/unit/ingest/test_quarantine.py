from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from expectations.reasons import Reason, explain, to_json
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.quarantine import SCHEMA, Quarantine
from pipeline.ingest.sources.base import RefusedRow, refused_table
from pipeline.store.delta.table import Table
from pipeline.store.objects import open_store
from tests.world import make_product, make_settings

NOW = datetime(2001, 1, 10, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
WIND = Reason("limits", "wind_speed", 99.0, "m s-1", low=0.0, high=60.0)
LINE = Reason("ragged_line", value=3, measure=1, expected="2")
ROWS: list[RefusedRow] = [
    (np.datetime64("2001-01-09"), "A", '{"wind_speed": 99}', [WIND]),
    (None, None, '{"line": "x"}', [LINE]),
]


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(open_store(tmp_path / "quarantine"), open_store(tmp_path / "decisions"))


def refused(*rows: RefusedRow) -> pa.Table:
    return refused_table(rows)


def ids(quarantine: Quarantine) -> list[str]:
    found: list[str] = quarantine.read()["id"].to_pylist()
    return found


def test_an_empty_quarantine(quarantine: Quarantine) -> None:
    assert quarantine.read() == SCHEMA.empty_table().drop_columns("month")
    assert quarantine.open_rows().num_rows == quarantine.count("released") == quarantine.count("dropped") == 0
    assert quarantine.reasons() == {}
    assert quarantine.add(refused(), at=NOW, payload="p") == 0
    assert not quarantine.table.exists


def test_a_refused_row_is_kept_with_reason_instant_and_payload(quarantine: Quarantine) -> None:
    assert quarantine.add(refused(*ROWS), at=NOW, payload="p", name="a.csv") == 2
    first, second = ids(quarantine)
    assert quarantine.read().to_pylist() == [
        {
            "id": first,
            "quarantined_at": NOW,
            "valid_time": datetime(2001, 1, 9, tzinfo=UTC),
            "location": "A",
            "values": '{"wind_speed": 99}',
            "reason": "wind_speed 99 m s-1 is outside 0 to 60",
            "reasons": to_json([WIND]),
            "payload": "p",
            "name": "a.csv",
        },
        {
            "id": second,
            "quarantined_at": NOW,
            "valid_time": None,
            "location": None,
            "values": '{"line": "x"}',
            "reason": "line 3 has 1 columns, not 2",
            "reasons": to_json([LINE]),
            "payload": "p",
            "name": "a.csv",
        },
    ]


def test_the_same_row_of_the_same_payload_enters_once(quarantine: Quarantine) -> None:
    quarantine.add(refused(*ROWS), at=NOW, payload="p")
    assert quarantine.add(refused(*ROWS[::-1]), at=LATER, payload="p") == 0
    assert quarantine.add(refused(*ROWS), at=LATER, payload="another") == 2
    assert sorted(quarantine.read()["quarantined_at"].to_pylist()) == [NOW, NOW, LATER, LATER]


def test_what_is_new_of_a_payload_is_added(quarantine: Quarantine) -> None:
    quarantine.add(refused(ROWS[0]), at=NOW, payload="p")
    other_reason = (*ROWS[0][:3], [Reason("step", "wind_speed", 99.0)])
    assert quarantine.add(refused(*ROWS, other_reason), at=LATER, payload="p") == 2
    assert len(quarantine.read()) == 3


def test_one_row_given_twice_enters_once(quarantine: Quarantine) -> None:
    assert quarantine.add(refused(ROWS[1], ROWS[1]), at=NOW, payload="p") == 1
    assert quarantine.add(refused(ROWS[1], ROWS[1]), at=NOW, payload="p") == 0


def test_hostile_text_is_kept_as_text(quarantine: Quarantine) -> None:
    hostile = "'; DROP TABLE x; --<script>=cmd|' /C calc'!A0\u202e"
    quarantine.add(refused((None, hostile, hostile, [Reason("text", value=hostile)])), at=NOW, payload=hostile)
    (row,) = quarantine.read().to_pylist()
    assert {row["location"], row["values"], row["reason"], row["payload"]} == {hostile}
    assert (
        quarantine.add(refused((None, hostile, hostile, [Reason("text", value=hostile)])), at=NOW, payload=hostile) == 0
    )


def test_reasons_are_counted_by_kind(quarantine: Quarantine) -> None:
    values = (70.0, 80.0)
    more: list[RefusedRow] = [(None, "A", f'{{"wind_speed": {n}}}', [replace(WIND, value=n)]) for n in values]
    quarantine.add(refused(*ROWS, *more), at=NOW, payload="p")
    assert list(quarantine.reasons().values()) == [3, 1]


def test_the_quarantine_of_a_product(tmp_path: Path) -> None:
    product, settings = make_product(tmp_path, days=3), make_settings(tmp_path)
    root = open_store(settings.home) / "products/tiny-wind"
    quarantine = OpenFeed(product.feed, settings).quarantine
    assert quarantine.table.store == root / "quarantine"
    assert quarantine.decisions.store == root / "quarantine-decisions"


def test_an_id_depends_on_payload_key_values_and_the_kinds_of_reasons(quarantine: Quarantine) -> None:
    quarantine.add(refused(*ROWS), at=NOW, payload="p")
    row: RefusedRow = (None, None, "a", [Reason("missing", "b")])
    others: list[RefusedRow] = [
        row,
        (np.datetime64("2001-01-09"), *row[1:]),
        (None, "", *row[2:]),
        (None, "-", *row[2:]),
        (None, None, "a b", row[3]),
        (*row[:3], [Reason("missing", "c")]),
        (*row[:3], [Reason("limits", "b")]),
        (*row[:3], [Reason("missing", "b"), Reason("missing", "c")]),
    ]
    assert quarantine.add(refused(*others), at=NOW, payload="q") == len(others)
    assert quarantine.add(refused(row), at=NOW, payload="r") == 1
    assert len(set(ids(quarantine))) == 2 + len(others) + 1


def test_a_reason_with_other_numbers_names_the_same_row(quarantine: Quarantine) -> None:
    buddy = Reason("buddy", "wind_speed", 99.0, "m s-1", high=6.0, measure=7.3)
    quarantine.add(refused((*ROWS[0][:3], [buddy])), at=NOW, payload="p")
    again = refused((*ROWS[0][:3], [replace(buddy, measure=6.5, high=5.0)]))
    assert quarantine.add(again, at=LATER, payload="p") == 0
    (row,) = quarantine.read().to_pylist()
    assert row["reason"] == explain([buddy])
    other_kind = refused((*ROWS[0][:3], [Reason("persistence", "wind_speed", 99.0)]))
    assert quarantine.add(other_kind, at=LATER, payload="p") == 1


@pytest.fixture
def before(quarantine: Quarantine) -> Quarantine:
    """Return the quarantine of a release that kept reasons as sentences alone, with a row and a line."""
    old = pa.schema([field for field in SCHEMA if field.name != "reasons"])
    reasons = ["wind_speed 99 m s-1 is outside 0 to 60", "line 3 has 1 columns, not 2"]
    rows = refused(*ROWS).drop_columns(["reason", "reasons"]).append_column("reason", pa.array(reasons))
    more = {"id": ["1" * 16, "2" * 16], "quarantined_at": [NOW, NOW], "payload": ["p"] * 2, "name": ["a.csv"] * 2}
    for name, values in {**more, "month": ["2001-01"] * 2}.items():
        rows = rows.append_column(name, pa.array(values, old.field(name).type))
    table = Table(quarantine.table.store, old, "month")
    table.append(lambda _: rows.select(old.names).cast(old))
    return Quarantine(quarantine.table.store, quarantine.decisions.store)


def test_a_row_of_an_earlier_release_does_not_enter_again(before: Quarantine) -> None:
    assert before.add(refused(*ROWS), at=LATER, payload="p") == 0
    assert ids(before) == ["1" * 16, "2" * 16]
    new: RefusedRow = (np.datetime64("2001-01-10"), "A", '{"wind_speed": 98}', [WIND])
    assert before.add(refused(*ROWS, new), at=LATER, payload="p") == 1
    assert before.add(refused(*ROWS, new), at=LATER, payload="p") == 0
    assert before.add(refused(*ROWS), at=LATER, payload="q") == 2
    assert before.reasons() == {"line … has … columns, not 2": 2, "wind_speed … m s-1 is outside 0 to 60": 3}


def test_rows_of_an_earlier_release_are_listed_and_decided_by_their_ids(before: Quarantine) -> None:
    before.add(refused(ROWS[0]), at=LATER, payload="q")
    assert before.record_decision(["1" * 16], at=LATER, who="ada", why="checked") == 1
    assert before.open_rows()["id"].to_pylist()[0] == "2" * 16
    assert before.rows(["2" * 16])["reasons"].to_pylist() == [None]


def test_a_recorded_row_is_found_when_a_repair_gave_it_another_id(quarantine: Quarantine) -> None:
    quarantine.add(refused(*ROWS), at=NOW, payload="p")
    first, second = quarantine.read().to_pylist()
    recorded = [{**first, "id": "1" * 16, "reasons": None}, {**second, "id": "2" * 16, "payload": "q", "reasons": None}]
    assert quarantine.find(recorded) == [first["id"]]
    assert quarantine.find([second]) == [second["id"]]


def test_rows_are_read_by_the_period_in_which_they_were_refused(quarantine: Quarantine) -> None:
    days = [datetime(2001, 1, 31, tzinfo=UTC) + n * timedelta(days=1) for n in range(3)]
    for day in reversed(days):
        quarantine.add(refused(*ROWS), at=day, payload=str(day))
    assert quarantine.read()["quarantined_at"].to_pylist() == [day for day in days for _ in ROWS]
    assert quarantine.read(since=days[1])["quarantined_at"].unique().to_pylist() == days[1:]
    assert quarantine.read(until=days[1])["quarantined_at"].unique().to_pylist() == days[:2]
    assert quarantine.open_rows(since=days[1], until=days[1])["quarantined_at"].unique().to_pylist() == [days[1]]
    auckland = days[1].astimezone(ZoneInfo("Pacific/Auckland"))
    assert quarantine.read(since=auckland, until=auckland).num_rows == 2
    assert {file.partition for file in quarantine.table.versions.newest().scan.files} == {"2001-01", "2001-02"}  # type: ignore[union-attr]


def test_a_row_of_an_earlier_month_does_not_enter_again(quarantine: Quarantine) -> None:
    quarantine.add(refused(*ROWS), at=NOW, payload="p" * 64)
    version = quarantine.table.version
    assert quarantine.add(refused(*ROWS), at=NOW + timedelta(days=99), payload="p" * 64) == 0
    assert quarantine.table.version == version


def test_rows_are_found_by_id(quarantine: Quarantine) -> None:
    quarantine.add(refused(*ROWS), at=NOW, payload="p")
    first, second = ids(quarantine)
    assert quarantine.rows([second, "none", second])["values"].to_pylist() == ['{"line": "x"}']
    assert quarantine.rows(iter([first, second])).num_rows == 2
    assert quarantine.rows([]).num_rows == 0


def test_what_is_released_or_dropped_is_no_longer_open_and_stays(quarantine: Quarantine) -> None:
    quarantine.add(refused(*ROWS), at=NOW, payload="p")
    first, second = ids(quarantine)
    assert quarantine.record_decision([first, "none"], at=LATER, who="ada", why="checked") == 1
    assert quarantine.open_rows()["id"].to_pylist() == [second]
    assert quarantine.record_decision([first, second], at=LATER, who="bob", why="noise", action="dropped") == 1
    assert quarantine.open_rows().num_rows == 0
    assert (quarantine.count("released"), quarantine.count("dropped")) == (1, 1)
    assert quarantine.read().num_rows == 2
    decided = sorted(quarantine.decisions.read().to_pylist(), key=lambda row: row["who"])
    assert decided == [
        {"id": first, "action": "released", "at": LATER, "who": "ada", "why": "checked"},
        {"id": second, "action": "dropped", "at": LATER, "who": "bob", "why": "noise"},
    ]
    assert quarantine.add(refused(*ROWS), at=LATER, payload="p") == 0  # refused again: still decided
    assert quarantine.open_rows().num_rows == 0


def test_of_two_who_decide_at_once_the_first_one_did(quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch) -> None:
    quarantine.add(refused(*ROWS), at=NOW, payload="p")
    other = Quarantine(quarantine.table.store, quarantine.decisions.store)
    commit = type(quarantine.decisions.versions).commit

    def overtaken(*arguments: Any, **options: Any) -> bool:
        monkeypatch.undo()
        assert other.record_decision(ids(other), at=NOW, who="bob", why="first", action="dropped") == 2
        return commit(*arguments, **options)

    monkeypatch.setattr(type(quarantine.decisions.versions), "commit", overtaken)
    assert quarantine.record_decision(ids(quarantine), at=NOW, who="ada", why="second") == 0
    assert (quarantine.count("released"), quarantine.count("dropped")) == (0, 2)


def test_a_hundred_thousand_refused_rows_are_added_and_recognised(quarantine: Quarantine) -> None:
    count = 100_000
    many = pa.table(
        {
            "valid_time": pa.array(np.arange(count) * 1_000_000, pa.int64()).cast(SCHEMA.field("valid_time").type),
            "location": ["A", "B"] * (count // 2),
            "values": [f"{{{n}}}" for n in range(count)],
            "reason": ["out of range"] * count,
            "reasons": [to_json([Reason("text", value="out of range")])] * count,
        }
    )
    assert quarantine.add(pa.concat_tables([many, many]), at=NOW, payload="p") == count
    assert quarantine.add(many.take(pa.array(np.arange(count)[::-1])), at=NOW, payload="p") == 0
    assert quarantine.reasons() == {"out of range": count}
