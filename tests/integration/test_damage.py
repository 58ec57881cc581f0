"""A damaged newest commit of a table is reported; of the observations, repair brings it back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from expectations.reasons import Reason
from pipeline.errors import StoreError
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.sources.base import refused_table
from pipeline.workspace import Workspace
from tests import jobs
from tests.conftest import Trained
from tests.world import VARIABLE, make_product, make_settings

NOW = datetime(2001, 2, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize("how", ["truncated", "empty", "removed"])
def test_a_damaged_newest_commit_is_reported_by_every_command_and_repaired(
    how: str, tmp_path: Path, empty_mlflow: Path
) -> None:
    source = {"path": "inbox/*.csv", "format": "csv", "layout": "wide"}
    product = make_product(tmp_path, stations=2, days=3, feed={"mode": "live", "source": source})
    settings = make_settings(tmp_path)
    (settings.home / "mlflow").mkdir(parents=True)
    (settings.home / "mlflow" / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
    (tmp_path / "inbox").mkdir()
    for n in range(3):
        (tmp_path / "inbox" / f"{n}.csv").write_text(f"time,S0,S1\n2001-01-0{n + 1},{n}.5,2\n")
        jobs.ingest(Workspace(product, settings), at=NOW + n * DAY)
    observations = OpenFeed(product.feed, settings).observations
    before = observations.digest()
    newest = max((settings.home / "products" / "tiny-wind" / "observations" / "_delta_log").glob("*.json"))
    content = newest.read_bytes()
    if how == "removed":
        newest.unlink()
    else:
        newest.write_bytes(content[: len(content) // 2] if how == "truncated" else b"")

    served = OpenFeed(product.feed, settings).observations.read()
    assert sorted(set(served["location"].to_pylist())) == ["S0", "S1"]  # the last good version
    assert served.num_rows == 4
    with pytest.raises(StoreError, match=r"tiny-wind: the observations are damaged.*maintain --repair"):
        jobs.ingest(Workspace(product, settings), at=NOW + 4 * DAY)
    status = jobs.status(Workspace(product, settings), at=NOW + 4 * DAY)
    assert (status.state, "nightcast maintain" in status.reason) == ("broken", True)

    assert jobs.maintain(Workspace(product, settings), at=NOW).damage
    repaired = jobs.maintain(Workspace(product, settings), repair=True, at=NOW)
    assert repaired.damage == ()
    assert OpenFeed(product.feed, settings).observations.digest() == before
    assert jobs.ingest(Workspace(product, settings), at=NOW + 5 * DAY).added == 0


@pytest.mark.parametrize("store", ["quarantine", "quarantine-decisions", "ledger", "forecasts", "scores"])
def test_status_reports_a_damaged_commit_of_any_other_table(trained: Trained, store: str) -> None:
    end = trained.end
    row = refused_table([(None, "S0", "{}", [Reason("invalid_number", VARIABLE, value="wet")])])
    trained.workspace.feed.quarantine.add(row, at=end, payload="0" * 64)
    jobs.drop(trained.workspace, who="ada", why="a joke", reason="not a number", at=end)
    jobs.forecast(trained.workspace, since=end - 2 * DAY, until=end)
    jobs.verify(trained.workspace, at=end)
    assert jobs.status(trained.workspace, at=end).state == "fresh"
    newest = max((trained.root / store / "_delta_log").glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:-100])
    status = jobs.status(trained.workspace, at=end)
    assert (status.state, status.reason.endswith("run `nightcast maintain`")) == ("broken", True)
    assert f"/{store}: " in status.reason
