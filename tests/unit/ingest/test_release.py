"""The release of rows that had no key: unreadable lines and time stamps, unlike payloads refused as a whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Product
from pipeline.errors import ContractError
from pipeline.ingest import release
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.release import decide, decide_again, judge_release, store_released
from pipeline.store.observations import AppendResult
from pipeline.store.receipts import Receipts
from pipeline.workspace import Workspace
from tests import jobs
from tests.world import VARIABLE, make_product, make_settings

NOW = datetime(2001, 2, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
RAGGED = "2001-01-03,S1,7.5,|wet, cold|"
UNREADABLE = "04.01.2001,S0,8,"
ROWS = ["2001-01-01,S0,1,", "2001-01-02,S0,2,", "2001-01-02,S0,300,"]


class Inbox:
    """A product whose one file has good rows, a row above the limit, and rows without a readable key."""

    def __init__(self, folder: Path, *rows: str) -> None:
        self.folder = folder
        (folder / "inbox").mkdir()
        (folder / "inbox" / "a.csv").write_text("\n".join(["time,location,wind_speed,note", *ROWS, *rows, ""]))
        jobs.ingest(self.workspace(), at=NOW)

    def workspace(self, **source: Any) -> Workspace:
        fields = {"path": "inbox/*.csv", "format": "csv", "layout": "long", **source}
        product: Product = make_product(self.folder, stations=2, days=3, feed={"mode": "live", "source": fields})
        return Workspace(product, make_settings(self.folder))

    def row(self, text: str) -> dict[str, Any]:
        """Return the row in quarantine whose reason has a text."""
        rows: list[dict[str, Any]] = self.workspace().feed.quarantine.open_rows().to_pylist()
        (row,) = [row for row in rows if text in row["reason"]]
        return row

    def release(self, feed: OpenFeed, *rows: dict[str, Any], override: bool = False) -> int:
        """Release rows and return how many enter the observations."""
        stored = store_released(judge_release(rows, feed, at=LATER, override=override), feed, at=LATER)
        decide(rows, feed, at=LATER, who="ada", why="seen", action="released", override=override)
        return stored.added

    def stored(self) -> list[tuple[int, str, float]]:
        rows = self.workspace().feed.observations.read().to_pylist()
        return [(row["valid_time"].day, row["location"], row[VARIABLE]) for row in rows]


GOOD = [(1, "S0", 1.0), (2, "S0", 2.0)]


@pytest.mark.parametrize("override", [False, True])
@pytest.mark.parametrize(("line", "reason"), [(RAGGED, "columns"), (UNREADABLE, "time stamp")])
def test_a_row_that_still_cannot_be_read_is_not_released(
    tmp_path: Path, line: str, reason: str, override: bool
) -> None:
    inbox = Inbox(tmp_path, line)
    row, feed = inbox.row(reason), inbox.workspace().feed
    with pytest.raises(
        ContractError, match=r"a row of inbox/a\.csv still cannot be read: .*; correct the product file"
    ):
        judge_release([row], feed, at=LATER, override=override)
    assert inbox.stored() == GOOD
    assert feed.quarantine.count("released") == 0


def test_a_line_is_released_once_its_quotes_are_read(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, RAGGED)
    row = inbox.row("columns")
    corrected = inbox.workspace(csv={"quote": "|"}).feed
    assert inbox.release(corrected, row) == 1
    assert inbox.stored() == [*GOOD, (3, "S1", 7.5)]
    assert [one["reason"][:10] for one in corrected.quarantine.open_rows().to_pylist()] == ["wind_speed"]
    assert store_released(judge_release([row], corrected, at=LATER), corrected, at=LATER).added == 0


def test_a_row_is_released_once_its_time_stamp_is_read(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, UNREADABLE)
    row = inbox.row("time stamp")
    assert (row["valid_time"], row["location"]) == (None, "S0")
    corrected = inbox.workspace(time={"columns": ["time"], "format": "%d.%m.%Y"}).feed
    assert inbox.release(corrected, row) == 1
    assert inbox.stored() == [*GOOD, (4, "S0", 8.0)]


def test_a_released_row_is_compared_only_with_rows_of_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [NOW.date() - timedelta(days=n) for n in range(40, 240)]
    inbox = Inbox(tmp_path, *(f"{day},{station},999," for day in days for station in ("S0", "S1")))
    feed = inbox.workspace().feed
    rows = [row for row in feed.quarantine.open_rows().to_pylist() if "999" in row["reason"]]
    compared: list[object] = []
    real = release._values

    def values(row: dict[str, Any]) -> str:
        compared.append(row)
        return real(row)

    monkeypatch.setattr(release, "_values", values)
    (released,) = judge_release(rows, feed, at=LATER, override=True)
    assert released.accepted.num_rows == 400
    assert len(compared) == 400


def test_a_stored_model_run_hides_no_released_row_of_another_run(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    rows = ["2001-01-05,S0,5,2001-01-08,", "2001-01-05,S0,4,2001-01-07,|wet, cold|"]
    (tmp_path / "inbox" / "a.csv").write_text("\n".join(["time,location,wind_speed,run,note", *rows, ""]))

    def workspace(**source: Any) -> Workspace:
        fields = {"path": "inbox/*.csv", "format": "csv", "layout": "long", "known_at": "run", **source}
        product = make_product(tmp_path, stations=2, days=3, feed={"source": fields})
        return Workspace(product, make_settings(tmp_path))

    ws = workspace()
    jobs.ingest(ws, at=NOW)
    (row,) = ws.feed.quarantine.open_rows().to_pylist()
    corrected = workspace(csv={"quote": "|"}).feed
    assert store_released(judge_release([row], corrected, at=LATER), corrected, at=LATER) == AppendResult(0, 1, 0)


def test_a_row_that_cannot_be_told_from_other_new_ones_is_not_released(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, UNREADABLE, "05.01.2001,S0,9,")
    rows = [row for row in inbox.workspace().feed.quarantine.read().to_pylist() if "time stamp" in row["reason"]]
    corrected = inbox.workspace(time={"columns": ["time"], "format": "%d.%m.%Y"}).feed
    with pytest.raises(ContractError, match="more new times than there are rows to release"):
        judge_release(rows[:1], corrected, at=LATER)
    assert inbox.release(corrected, *rows) == 2


def test_a_row_that_breaks_a_check_is_refused_again(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, "04.01.2001,S0,999,")
    row = inbox.row("time stamp")
    corrected = inbox.workspace(time={"columns": ["time"], "format": "%d.%m.%Y"}).feed
    with pytest.raises(ContractError, match="would be refused again: wind_speed 999"):
        judge_release([row], corrected, at=LATER)
    assert inbox.release(corrected, row, override=True) == 1


def test_a_repair_stores_the_row_again(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, UNREADABLE)
    corrected = inbox.workspace(time={"columns": ["time"], "format": "%d.%m.%Y"}).feed
    assert inbox.release(corrected, inbox.row("time stamp")) == 1
    (record,) = (one for one in Receipts(corrected.layout.receipts) if "release" in one)
    before = inbox.stored()
    decide_again(record, corrected)
    assert inbox.stored() == before


def test_a_record_of_an_earlier_release_lets_no_unreadable_line_fail_a_repair(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, RAGGED)
    feed, row = inbox.workspace().feed, inbox.row("columns")
    recorded = {name: row[name] for name in ("id", "valid_time", "location", "values", "reason", "payload")}
    decision = {"action": "released", "who": "ada", "why": "seen", "override": False, "rows": [recorded]}
    decide_again({"at": LATER.isoformat(), "release": decision}, feed)
    assert feed.quarantine.count("released") == 1
    assert inbox.stored() == GOOD
