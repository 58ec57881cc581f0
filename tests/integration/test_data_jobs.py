"""Backfill, quarantine and maintenance, through the jobs and the command line."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from pipeline.cli import main
from pipeline.config import Product, Settings, load_product
from pipeline.errors import ContractError, SourceError, UsageError
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.release import Released, decide_again, store_released
from pipeline.ingest.sources.base import refused_table
from pipeline.jobs.backfill import BackfillResult
from pipeline.jobs.job import Progress
from pipeline.jobs.maintain import MaintainResult
from pipeline.jobs.release import ReleaseResult
from pipeline.store.layout import FeedLayout
from pipeline.store.observations import TIME
from pipeline.store.receipts import Receipts
from pipeline.workspace import Workspace
from tests import jobs
from tests.world import VARIABLE, make_product, make_settings

NOW = datetime(2001, 9, 1, tzinfo=UTC)
SINCE, UNTIL = datetime(2001, 1, 1, tzinfo=UTC), datetime(2001, 6, 30, tzinfo=UTC)
DAY = timedelta(days=1)


class ProductHome:
    """A live feed of two stations whose values come in a file a month."""

    def __init__(self, folder: Path, name: str = "home", **feed: Any) -> None:
        source = {"path": "inbox/*.csv", "format": "csv", "layout": "wide"}
        self.product: Product = make_product(
            folder, stations=2, days=3, feed={"mode": "live", "source": source, **feed}
        )
        self.settings: Settings = make_settings(folder / name)
        self.inbox = folder / "inbox"
        self.inbox.mkdir(exist_ok=True)
        self.observations = self.workspace.feed.observations
        self.quarantine = self.workspace.feed.quarantine

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.product, self.settings)

    def put(self, name: str, *rows: str) -> None:
        (self.inbox / f"{name}.csv").write_text("\n".join(["time,S0,S1", *rows]) + "\n")

    def put_months(self) -> None:
        """Deliver the days of seven months, a file each; the last one is beyond the range that tests ask for."""
        day = SINCE
        months: dict[str, list[str]] = {}
        while day < datetime(2001, 8, 1, tzinfo=UTC):
            months.setdefault(f"{day:%Y-%m}", []).append(f"{day:%Y-%m-%d},{day.day}.5,{day.month}.25")
            day += DAY
        for month, rows in months.items():
            self.put(month, *rows)

    def backfill(self, **options: Any) -> BackfillResult:
        return jobs.backfill(self.workspace, **{"since": SINCE, "until": UNTIL, "at": NOW, **options})


@pytest.fixture
def place(tmp_path: Path) -> ProductHome:
    return ProductHome(tmp_path)


def test_a_backfill_ingests_the_range_as_history(place: ProductHome) -> None:
    place.put_months()
    result = place.backfill()
    assert (result.pieces, result.repeated, result.added) == (7, 0, 2 * 181)
    rows = place.observations.read().to_pylist()
    assert {row["known_at"] - row["valid_time"] for row in rows} == {place.product.feed.delay}
    assert max(row["valid_time"] for row in rows) == UNTIL


def test_parts_in_any_order_and_repeated_make_the_same_table(tmp_path: Path) -> None:
    whole, parted = ProductHome(tmp_path, "whole"), ProductHome(tmp_path, "parted")
    whole.put_months()
    whole.backfill()
    counts = [parted.backfill(part=(k, 3)).added for k in (3, 1, 2, 3, 1)]
    assert sum(counts[:3]) == 2 * 181
    assert counts[3:] == [0, 0]
    assert parted.observations.digest() == whole.observations.digest()


def test_a_backfill_continues_where_it_was_interrupted(place: ProductHome) -> None:
    place.put_months()

    class PulledPlugError(Exception):
        pass

    def pull(progress: Progress) -> None:
        if progress.done == 4:
            raise PulledPlugError

    with pytest.raises(PulledPlugError):
        place.backfill(on_progress=pull)
    pieces: list[tuple[int, int]] = []
    result = place.backfill(on_progress=lambda piece: pieces.append((piece.done, piece.total)))
    assert (result.pieces, result.repeated) == (7, 3)
    assert pieces[-1] == (7, 7)
    assert place.observations.read().num_rows == 2 * 181


def test_a_source_with_time_ranges_is_queried_month_by_month(tmp_path: Path) -> None:
    source = {"kind": "synthetic", "start": "2000-01-01"}
    product = make_product(tmp_path, stations=3, days=3, feed={"mode": "live"})
    feed = json.loads(product.feed.model_dump_json(exclude={"source"}))
    text = json.dumps(json.loads(product.model_dump_json(exclude={"feed"})) | {"feed": feed | {"source": source}})
    path = tmp_path / "synthetic.yaml"
    path.write_text(text)
    product = load_product(path)
    homes = [make_settings(tmp_path / name) for name in ("whole", "parted")]
    pieces: list[str] = []
    options: dict[str, Any] = {"since": SINCE, "until": SINCE + timedelta(days=69), "at": NOW}
    result = jobs.backfill(
        Workspace(product, homes[0]), **options, on_progress=lambda piece: pieces.append(piece.detail)
    )
    assert pieces == [
        "2001-01-01 00:00 to 2001-01-31 23:59",
        "2001-02-01 00:00 to 2001-02-28 23:59",
        "2001-03-01 00:00 to 2001-03-11 00:00",
    ]
    assert result.added == 3 * 70
    for k in (2, 1):
        jobs.backfill(Workspace(product, homes[1]), **options, part=(k, 2))
    one, other = (OpenFeed(product.feed, home).observations.digest() for home in homes)
    assert one == other


@pytest.mark.parametrize(
    ("options", "words"),
    [({"part": (4, 3)}, "4/3 does not exist; write 1/3 to 3/3"), ({"until": SINCE - DAY}, "is before since")],
)
def test_an_invalid_range_or_part_is_wrong_use(place: ProductHome, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        place.backfill(**options)


def test_one_unreadable_file_does_not_stop_the_others(place: ProductHome) -> None:
    place.put("a", "2001-01-01,1,2")
    (place.inbox / "b.csv").symlink_to(place.inbox / "nowhere")
    (place.inbox / "c.csv").write_bytes(b"")
    place.put("d", "2001-01-02,3,4")
    result = jobs.ingest(place.workspace, at=NOW)
    assert result.added == 4
    assert [fault for fault in result.faults if "c.csv" in fault]


@pytest.fixture
def refused(place: ProductHome) -> ProductHome:
    """Two good rows, one far above the limit, one that is a word."""
    place.put("a", "2001-01-01,1,2", "2001-01-02,140,zwei")
    jobs.ingest(place.workspace, at=NOW)
    return place


def test_the_quarantine_is_listed_by_reason_and_shown_by_row(refused: ProductHome) -> None:
    listed = jobs.list_refused(refused.workspace)
    assert [(group.rows, group.reason) for group in listed.groups] == [
        (1, "wind_speed … m s-1 is outside 0 to 100"),
        (1, "wind_speed: … is not a number"),
    ]  # as many rows: by their words
    shown = jobs.show_refused(refused.workspace, reason="outside")
    (row,) = shown.rows
    assert (row.location, json.loads(row.values), row.name) == ("S0", {VARIABLE: 140.0}, "inbox/a.csv")
    assert jobs.show_refused(refused.workspace, limit=1).total == 2


def test_a_row_that_would_be_refused_again_is_not_released(refused: ProductHome) -> None:
    with pytest.raises(ContractError, match=r"S0 at 2001-01-02.* would be refused again: wind_speed 140"):
        jobs.release(refused.workspace, who="me", why="storm", reason="outside", at=NOW)
    assert refused.observations.read().num_rows == 2
    assert sum(group.rows for group in jobs.list_refused(refused.workspace).groups) == 2


def test_after_the_contract_is_corrected_a_row_is_released_as_known_from_now_on(refused: ProductHome) -> None:
    (row,) = jobs.show_refused(refused.workspace, reason="outside").rows
    spec = refused.product.feed.variables[VARIABLE].model_copy(update={"limits": (0.0, 200.0)})
    feed = refused.product.feed.model_copy(update={"variables": {VARIABLE: spec}})
    wider = refused.product.model_copy(update={"feed": feed})
    later = NOW + DAY
    result = jobs.release(Workspace(wider, refused.settings), who="me", why="storm", ids=[row.id[:10]], at=later)
    assert (result.rows, result.added) == (1, 1)
    (stored,) = [one for one in refused.observations.read().to_pylist() if one[VARIABLE] == 140.0]
    assert (stored["known_at"], stored["location"]) == (later, "S0")
    left = jobs.list_refused(refused.workspace)
    assert ([group.rows for group in left.groups], left.released) == ([1], 1)
    with pytest.raises(UsageError, match="is not in quarantine"):
        jobs.release(Workspace(wider, refused.settings), who="me", why="again", ids=[row.id], at=later)


def test_a_person_may_override_the_contract_but_not_what_cannot_be_stored(refused: ProductHome) -> None:
    options: dict[str, Any] = {"who": "me", "why": "seen by two instruments", "override": True, "at": NOW}
    result = jobs.release(refused.workspace, reason="outside", **options)
    assert result.added == 1
    with pytest.raises(ContractError, match="still cannot be read"):
        jobs.release(refused.workspace, reason="not a number", **options)


def test_a_dropped_row_is_kept_and_no_longer_listed(refused: ProductHome) -> None:
    result = jobs.drop(refused.workspace, who="me", why="a joke", reason="not a number", at=NOW)
    assert result.rows == 1
    listed = jobs.list_refused(refused.workspace)
    assert ([group.rows for group in listed.groups], listed.dropped) == ([1], 1)
    assert refused.quarantine.read().num_rows == 2


def test_nothing_is_released_by_accident(refused: ProductHome) -> None:
    with pytest.raises(UsageError, match="no rows selected"):
        jobs.release(refused.workspace, who="me", why="all")
    with pytest.raises(UsageError, match="no row in quarantine has a reason that contains 'xyz'"):
        jobs.drop(refused.workspace, who="me", why="all", reason="xyz")


def test_maintenance_of_sound_stores_compacts_and_finds_no_damage(place: ProductHome, empty_mlflow: Path) -> None:
    for day in range(1, 8):
        place.put(f"{day}", f"2001-01-0{day},{day},{day}")
        jobs.ingest(place.workspace, at=NOW + day * DAY)
    before = place.observations.digest()
    result = jobs.maintain(place.workspace)
    (table,) = [one for one in result.tables if one.table == "tiny-wind: observations"]
    assert min(one.version for one in result.tables) >= 0  # tables that nothing made are not there
    assert (table.compacted, result.damage, result.payloads) == (6, (), 7)  # seven files became one
    assert table.removed == 0  # somebody may be reading them
    age(place, 30 * DAY)
    result = jobs.maintain(place.workspace)
    assert (result.tables[0].compacted, result.tables[0].removed, result.damage) == (0, 7, ())
    assert place.observations.digest() == before


def test_a_flipped_bit_is_reported_and_the_exit_code_is_1(
    place: ProductHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.put("a", "2001-01-01,1,2")
    jobs.ingest(place.workspace, at=NOW)
    (data,) = (place.settings.home / "products" / "tiny-wind" / "observations").rglob("*.parquet")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    code, shown = run(place, monkeypatch, capsys, "maintain")
    assert code == 1
    assert data.name in shown.err


class Printed(NamedTuple):
    out: str
    err: str


def run(
    place: ProductHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, Printed]:
    monkeypatch.setattr("pipeline.config.settings", lambda: place.settings)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*words, str(place.product.folder / "product.yaml")])
    return int(ended.value.code or 0), Printed(*capsys.readouterr())


def test_the_commands_print_what_they_did(
    refused: ProductHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, listed = run(refused, monkeypatch, capsys, "quarantine", "list")
    assert "2 rows in quarantine" in listed.out
    assert "is not a number" in listed.out
    _, shown = run(refused, monkeypatch, capsys, "quarantine", "show", "--reason", "outside")
    assert "S0" in shown.out
    code, refusal = run(refused, monkeypatch, capsys, "quarantine", "release", "--reason", "outside", "--why", "storm")
    assert (code, "would be refused again" in refusal.err) == (4, True)
    code, dropped = run(refused, monkeypatch, capsys, "quarantine", "drop", "--reason", "outside", "--why", "no storm")
    assert (code, "dropped 1 rows" in dropped.out) == (0, True)
    refused.put_months()
    code, filled = run(
        refused, monkeypatch, capsys, "backfill", "--since", "2001-02-01", "--until", "2001-03-01", "--part", "1/1"
    )
    assert (code, "2 x 29" in filled.out or "58 new rows" in filled.out) == (0, True)
    code, _ = run(refused, monkeypatch, capsys, "backfill", "--since", "x", "--until", "y", "--part", "two")
    assert code == 2


def test_an_ingest_with_a_fault_stores_the_rest_and_ends_as_an_upstream_failure(
    place: ProductHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.put("a", "2001-01-01,1,2")
    (place.inbox / "b.csv").write_bytes(b"")
    code, shown = run(place, monkeypatch, capsys, "ingest")
    assert (code, "2 new rows" in shown.out, "b.csv" in shown.err) == (3, True, True)


def test_an_empty_source_is_reported(place: ProductHome) -> None:
    with pytest.raises(SourceError, match="no file matches"):
        jobs.ingest(place.workspace, at=NOW)


def age(place: ProductHome, by: timedelta) -> None:
    """Let every file be that much older than it is."""
    for path in place.settings.home.rglob("*"):
        if path.is_file() and "mlflow" not in path.parts:
            then = path.stat().st_mtime - by.total_seconds()
            os.utime(path, (then, then))


def store(place: ProductHome) -> Path:
    return place.settings.home / "products" / "tiny-wind"


def damage(place: ProductHome, *tables: str) -> None:
    """Tear every data file of some tables."""
    for table in tables:
        for path in (store(place) / table).rglob("*.parquet"):
            if "_delta_log" not in path.parts:
                path.write_bytes(path.read_bytes()[:-1] + b"x")


def release(place: ProductHome, reason: str, at: datetime, **options: Any) -> ReleaseResult:
    return jobs.release(place.workspace, who="me", why="seen", reason=reason, at=at, **options)


def mended(place: ProductHome, empty_mlflow: Path) -> tuple[MaintainResult, str]:
    """Repair, and return what was done and the digest since."""
    result = jobs.maintain(place.workspace, repair=True)
    return result, place.observations.digest()


def test_an_unfinished_write_keeps_its_file_whatever_the_time_of_maintenance(
    place: ProductHome, empty_mlflow: Path
) -> None:
    place.put("a", "2001-01-01,1,2")
    jobs.ingest(place.workspace, at=NOW)
    pending = store(place) / "observations" / "pending.parquet"
    pending.write_bytes(b"of a writer that has not committed yet")
    jobs.maintain(place.workspace, at=datetime(2100, 1, 1, tzinfo=UTC))
    assert pending.exists()
    age(place, 8 * DAY)
    jobs.maintain(place.workspace, at=datetime(2100, 1, 1, tzinfo=UTC))
    assert not pending.exists()


@pytest.mark.parametrize("tables", [("observations",), ("observations", "quarantine", "quarantine-decisions")])
def test_a_repair_restores_payloads_releases_and_decisions(
    refused: ProductHome, empty_mlflow: Path, tables: tuple[str, ...]
) -> None:
    release(refused, "outside", NOW + DAY, override=True)
    jobs.drop(refused.workspace, who="me", why="a joke", reason="not a number", at=NOW + 2 * DAY)
    refused.put("b", "2001-01-02,90,80", "2001-01-03,7,8")  # corrects what was released
    jobs.ingest(refused.workspace, at=NOW + 3 * DAY)
    before, decided = refused.observations.digest(), refused.quarantine.decisions.read().sort_by("id")
    rows = refused.quarantine.read().sort_by("id")
    damage(refused, *tables)
    result, after = mended(refused, empty_mlflow)
    assert (after, result.damage, result.reingested) == (before, (), 2)
    assert refused.quarantine.decisions.read().sort_by("id") == decided
    assert refused.quarantine.read().sort_by("id") == rows
    assert refused.quarantine.open_rows().num_rows == 0
    assert mended(refused, empty_mlflow)[0].reingested == 0


def test_an_interrupted_repair_is_reported_and_continued(
    refused: ProductHome, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = refused.observations.digest()
    damage(refused, "observations")

    class PulledPlugError(Exception):
        pass

    def pull(*_: object, **__: object) -> None:
        raise PulledPlugError

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.jobs.maintain.ingest_payload", pull)
        with pytest.raises(PulledPlugError):
            jobs.maintain(refused.workspace, repair=True)
    assert refused.observations.read().num_rows == 0
    found = jobs.maintain(refused.workspace).damage
    assert found == (
        "tiny-wind: payloads that a repair removed are not all ingested again; run `nightcast maintain --repair`",
    )
    (store(refused) / "receipts" / "lost.json").write_bytes(b"torn")
    assert jobs.maintain(refused.workspace).damage == found
    result, after = mended(refused, empty_mlflow)
    assert (after, result.damage, result.reingested) == (before, (), 1)
    assert jobs.maintain(refused.workspace).damage == ()


def test_a_torn_payload_is_reported_and_does_not_stop_the_restoration_of_others(
    place: ProductHome, empty_mlflow: Path
) -> None:
    place.put("a", "2001-01-01,1,2")
    place.put("b", "2001-01-02,3,4")
    jobs.ingest(place.workspace, at=NOW)
    before = place.observations.digest()
    (receipt,) = (
        one
        for one in Receipts(FeedLayout.of(place.product.feed, place.settings).receipts)
        if one["name"] == "inbox/a.csv"
    )
    (content,) = (store(place) / "raw").rglob(f"{receipt['payload']}.zst")
    whole = content.read_bytes()
    content.write_bytes(whole[:-1])
    damage(place, "observations")
    result, _ = mended(place, empty_mlflow)
    assert result.reingested == 1
    assert place.observations.read()["valid_time"].unique().to_pylist() == [SINCE + DAY]
    assert [line for line in result.damage if line.startswith("tiny-wind: cannot be ingested again: ")]
    assert "are not all ingested again" in " ".join(jobs.maintain(place.workspace).damage)
    content.write_bytes(whole)
    result, after = mended(place, empty_mlflow)
    assert (after, result.damage, result.reingested) == (before, (), 1)  # only what failed


def test_a_release_that_would_fail_half_way_stores_nothing(place: ProductHome) -> None:
    place.put("a", "2001-01-01,1,140")
    place.put("b", "2001-01-02,2,zwei")
    place.put("c", "2001-01-03,3,150")
    jobs.ingest(place.workspace, at=NOW)
    before = place.observations.digest()
    with pytest.raises(ContractError, match="still cannot be read"):
        release(place, "", NOW + DAY, ids=[row["id"] for row in place.quarantine.read().to_pylist()], override=True)
    assert place.observations.digest() == before
    assert place.quarantine.open_rows().num_rows == 3
    assert release(place, "outside", NOW + DAY, override=True).added == 2


def test_rows_with_known_at_are_released_with_it(place: ProductHome) -> None:
    known_at = [NOW - DAY, NOW - 2 * DAY, NOW + 2 * DAY]
    rows = pa.table(
        {
            "valid_time": pa.array([SINCE] * 3, TIME),
            "location": ["S0"] * 3,
            "known_at": pa.array(known_at, TIME),
            VARIABLE: [2.0, 1.0, 3.0],
        }
    )
    released = [Released("p" * 64, "a.csv", rows, refused_table([]))]
    assert store_released(released, place.workspace.feed, at=NOW).added == 1
    known = place.observations.read(known_by=NOW - timedelta(microseconds=1))
    assert known.num_rows == 0
    (last,) = place.observations.read(known_by=NOW + DAY).to_pylist()[-1:]
    assert (last["known_at"], last[VARIABLE]) == (NOW + timedelta(microseconds=1), 2.0)
    assert place.observations.read().to_pylist()[-1]["known_at"] == NOW + 2 * DAY
    assert store_released(released, place.workspace.feed, at=NOW).added == 0


def test_a_decision_is_repeated_as_it_was_and_only_once(refused: ProductHome) -> None:
    release(refused, "outside", NOW + DAY, override=True)
    before, version = refused.observations.digest(), refused.observations.table.version
    (record,) = (
        one for one in Receipts(FeedLayout.of(refused.product.feed, refused.settings).receipts) if "release" in one
    )
    decide_again(record, refused.workspace.feed)
    assert (refused.observations.digest(), refused.observations.table.version) == (before, version)
    assert refused.quarantine.count("released") == 1
