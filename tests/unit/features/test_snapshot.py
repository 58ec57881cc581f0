from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.task import Inputs
from pipeline.config import Product, Settings
from pipeline.errors import NoDataError
from pipeline.features import windows
from pipeline.features.arrays import Bool, Float, Frames, Int
from pipeline.features.asof import windows_as_of
from pipeline.features.snapshot import Snapshot
from pipeline.features.windows import IssueWindows
from pipeline.ingest.feed import OpenFeed
from pipeline.steps import mean_length
from pipeline.workspace import Workspace
from tests.unit.features.grids import grid_rows, make_grid_product
from tests.world import VARIABLE, end_of, fill, make_product, make_rows, make_settings, record_rows, take_snapshot

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def inputs(snapshot: Snapshot, issue: datetime) -> Inputs:
    cut = IssueWindows(snapshot.task, snapshot.cadence, snapshot.frames, [issue], truth_at=snapshot.known_by)
    return cut.inputs(np.array([0]))


def same(one: Inputs, other: Inputs) -> bool:
    return all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name in ("values", "mask", "time", "target_time")
    )


def is_mapped(snapshot: Snapshot) -> bool:
    return all(isinstance(array.base, np.memmap) for array in snapshot.frames.arrays().values())


def live(
    folder: Path, settings: Settings, *, grid: bool = False, days: int = 36, **arguments: Any
) -> tuple[Product, list[datetime]]:
    """A live feed of 36 frames that arrive one by one: on time, late, revised, repeated or never."""
    make = make_grid_product if grid else make_product
    product = make(folder, feed={"mode": "live"}, days=days, **arguments)
    store = OpenFeed(product.feed, settings).observations
    step, delay = mean_length(product.feed.step), product.feed.delay
    rows = (grid_rows if grid else record_rows)(product).to_pylist()
    times = sorted({row["valid_time"] for row in rows})
    random = np.random.default_rng(1)
    deliveries: dict[datetime, list[tuple[datetime, str, float | None]]] = {}
    for row in rows:
        due = row["valid_time"] + delay
        history = row["valid_time"] < times[18]
        at = times[18] + delay if history else due + int(random.choice([0, 0, 0, 1, 3])) * step
        deliveries.setdefault(at, []).append((row["valid_time"], row["location"], row[VARIABLE]))
        if random.random() < 0.2:  # and again later, changed or not
            value = row[VARIABLE] + random.choice([0.0, 1.0])
            deliveries.setdefault(at + 2 * step, []).append((row["valid_time"], row["location"], value))
    for at in sorted(deliveries):
        unique = {row[:2]: row for row in deliveries[at]}
        store.append(make_rows(*unique.values()), at=at, payload="p")
    return product, times


def test_the_contents_of_a_snapshot(tmp_path: Path, settings: Settings) -> None:
    product = make_product(tmp_path, days=50, stations=3)
    fill(product, settings)
    snapshot = take_snapshot(Workspace(product, settings), known_by=end_of(product))
    assert snapshot.locations.ids == ("S0", "S1", "S2")
    assert snapshot.task.locations == ("S0", "S1", "S2")
    assert snapshot.frames.first.shape == (50, 1, 3)
    assert snapshot.frames.mask.all()
    assert snapshot.table_version == OpenFeed(product.feed, settings).observations.table.version
    assert snapshot.digest == snapshot.frames.digest()
    assert is_mapped(snapshot)
    recent = take_snapshot(Workspace(product, settings), known_by=end_of(product), since=end_of(product) - 900 * DAY)
    assert not is_mapped(recent)
    assert recent.digest == snapshot.digest


def test_without_observations_there_is_no_snapshot(tmp_path: Path, settings: Settings) -> None:
    product = make_product(tmp_path, days=50)
    with pytest.raises(NoDataError, match="nothing was known by 2001-02-20 06:00 UTC"):
        take_snapshot(Workspace(product, settings), known_by=end_of(product))
    fill(product, settings)
    with pytest.raises(NoDataError, match="nothing was known by 1990"):
        take_snapshot(Workspace(product, settings), known_by=end_of(product).replace(year=1990))


def test_a_past_snapshot_does_not_change_with_later_data(tmp_path: Path, settings: Settings) -> None:
    # The digest of a past instant does not change when rows arrive.
    product, times = live(tmp_path, settings)
    then = times[28] + 7 * HOUR
    before = take_snapshot(Workspace(product, settings), known_by=then)
    store = OpenFeed(product.feed, settings).observations
    store.append(make_rows(*((time, "S0", 50.0) for time in times)), at=times[-1] + 9 * DAY, payload="late")
    after = take_snapshot(Workspace(product, settings), known_by=then)
    assert after.digest == before.digest
    assert after.table_version == before.table_version + 1


def test_equal_data_stored_differently_gives_an_equal_snapshot(tmp_path: Path) -> None:
    product = make_product(tmp_path, days=40)
    whole, parts = make_settings(tmp_path / "whole"), make_settings(tmp_path / "parts")
    fill(product, whole)
    rows = record_rows(product)
    store = OpenFeed(product.feed, parts).observations
    for start in (100, 0, 30):
        store.append(rows.slice(start), at=end_of(product), payload=str(start))
    now = end_of(product)
    one, other = (take_snapshot(Workspace(product, where), known_by=now) for where in (whole, parts))
    assert one.digest == other.digest
    assert one.table_version != other.table_version


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"delay": "54h"},
        {"days": 9, "step": "6h", "delay": "90min", "schedule": {"forecast": "0 */6 * * *"}},
        {"context": 1, "schedule": {"forecast": "0 6 * * *"}},
        {"schedule": {"forecast": "30 6 * * *", "time_zone": "Europe/Dublin"}},
        {"grid": True},
    ],
    ids=["daily", "late", "six-hourly", "one frame", "Dublin", "grid"],
)
def test_live_and_training_see_the_same(tmp_path: Path, settings: Settings, arguments: dict[str, Any]) -> None:
    product, times = live(tmp_path, settings, **arguments)
    full = take_snapshot(Workspace(product, settings), known_by=times[-1] + 30 * DAY)
    assert is_mapped(full)
    assert full.task.grid == ((2, 2) if arguments.get("grid") else None)
    span = (product.forecast.context + 2) * mean_length(product.feed.step) + product.feed.delay  # as `issue_forecast`
    issues = list(full.cadence.issues(times[14], times[-1] + 2 * DAY))
    assert len(issues) > 10
    whole = take_snapshot(Workspace(product, settings), known_by=issues[7])
    assert same(inputs(whole, issues[7]), inputs(full, issues[7]))
    known = 0
    for issue in issues[::3]:
        then = take_snapshot(Workspace(product, settings), known_by=issue, since=issue - span)
        assert not is_mapped(then)
        seen = inputs(then, issue)
        assert same(seen, inputs(full, issue))
        known += int(seen.mask.sum())
    assert known > 0


def test_a_window_does_not_read_the_whole_history(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make_product(tmp_path, days=400)
    fill(product, settings)
    snapshot = take_snapshot(Workspace(product, settings), known_by=end_of(product))
    lengths: list[int] = []

    def noted(frames: Frames, last: Int, known_by: Int, length: int, **options: Any) -> tuple[Float, Bool]:
        lengths.append(len(last) * length)
        return windows_as_of(frames, last, known_by, length, **options)

    monkeypatch.setattr(windows, "windows_as_of", noted)
    issues = list(snapshot.cadence.issues(snapshot.known_by - 300 * DAY, snapshot.known_by))
    cut = IssueWindows(snapshot.task, snapshot.cadence, snapshot.frames, issues, truth_at=snapshot.known_by)
    assert lengths == []
    cut.batch(np.array([3, 4]))
    assert lengths == [2 * snapshot.task.context, 2 * snapshot.task.leads]
