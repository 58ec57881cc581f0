"""Future covariates in the windows of models: as known at the issue time, at each location."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.config import Product, Settings
from pipeline.errors import StoreError
from pipeline.features.covariates import UnreadableCovariate, covariate_names, load_covariates_at_issue
from pipeline.features.snapshot import Snapshot
from pipeline.ingest.feed import OpenFeed
from pipeline.locations import read_locations
from pipeline.store.observations import Observations
from pipeline.training.folds import Fold, Folds
from pipeline.training.holdout import training_key
from pipeline.workspace import Workspace
from tests.world import end_of, fill, make_product, make_settings, take_snapshot

TIME = pa.timestamp("us", tz="UTC")
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
FIRST = np.array([0])
FEED = {
    "source": {"kind": "files", "path": "nwp.csv", "format": "csv"},
    "step": "1d",
    "locations": {"kind": "stations", "path": "stations.csv"},
    "variables": {"air_temperature": {}, "wind_speed": {}},
}
CELLS = {
    "kind": "grid",
    "longitude": {"start": -10.0, "step": 2.0, "count": 3},
    "latitude": {"start": 55.0, "step": -3.5, "count": 2},
}


@pytest.fixture
def installed(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def make(
    folder: Path,
    *,
    stations: int = 2,
    feed: dict[str, Any] | None = None,
    covariates: dict[str, dict[str, Any]] | None = None,
) -> Product:
    return make_product(folder, stations=stations, days=20, covariates=covariates or {"nwp": FEED | (feed or {})})


def publish(product: Product, settings: Settings, at: datetime, rows: list[dict[str, Any]], name: str = "nwp") -> None:
    """Publish one model run at an instant."""
    variables = [(variable, pa.float64()) for variable in product.covariates[name].variables]
    schema = pa.schema([("valid_time", TIME), ("location", pa.string()), *variables])
    store = OpenFeed(product.covariates[name], settings).observations
    store.append(pa.Table.from_pylist(rows, schema=schema), at=at, payload="run")


def run_of(product: Product, at: datetime, shift: float = 0.0, days: int = 6) -> list[dict[str, Any]]:
    """Return the rows of a run: the day of the month as temperature, 100 more at each further location."""
    places = read_locations(product.covariates["nwp"]).ids
    times = [at.replace(hour=0) + n * DAY for n in range(days)]
    return [
        {"valid_time": time, "location": place, "air_temperature": shift + time.day + 100 * n, "wind_speed": None}
        for time in times
        for n, place in enumerate(places)
    ]


def filled(product: Product, settings: Settings, runs: range = range(1, 19)) -> datetime:
    """Store the observations, and a run at three o'clock each day, each 0.001 higher than the one before."""
    fill(product, settings)
    start = end_of(product) - 20 * DAY - product.feed.delay
    for n in runs:
        at = start + n * DAY + 3 * HOUR
        publish(product, settings, at, run_of(product, at, shift=n / 1000))
    return start


def snapshot_of(product: Product, settings: Settings) -> Snapshot:
    return take_snapshot(Workspace(product, settings), known_by=end_of(product))


def test_covariates_are_named_by_feed_and_variable_in_the_order_of_the_product(tmp_path: Path) -> None:
    product = make(tmp_path, covariates={"nwp": FEED, "a": deepcopy(FEED)})
    assert covariate_names(product) == ("nwp.air_temperature", "nwp.wind_speed", "a.air_temperature", "a.wind_speed")


def test_a_window_holds_the_covariates_of_its_leads(tmp_path: Path, installed: Settings) -> None:
    product = make(tmp_path)  # issued at 7; the delay is 6 hours, so the newest frame is that of the same midnight
    start = filled(product, installed)
    snapshot = snapshot_of(product, installed)
    assert snapshot.task.covariates == ("nwp.air_temperature", "nwp.wind_speed")
    issue = start + 9 * DAY + 7 * HOUR
    inputs = snapshot.windows([issue], truth_at=issue).inputs(FIRST)
    inputs.check(snapshot.task)
    values, mask = inputs.future_covariates(snapshot.task)
    assert values.shape == (1, 2, 2, 2)
    np.testing.assert_allclose(values[0, :, 0], [[11.009, 111.009], [12.009, 112.009]])  # the run of three o'clock
    assert mask[0, :, 0].all()
    assert not mask[0, :, 1].any()  # a variable that no run has
    assert not values[0, :, 1].any()
    before = snapshot.windows([issue - 5 * HOUR], truth_at=issue).inputs(FIRST)  # two o'clock: the run of yesterday
    np.testing.assert_allclose(before.future_covariates(snapshot.task)[0][0, :, 0, 0], [10.008, 11.008])


def test_every_issue_sees_its_own_run_in_any_order(tmp_path: Path, installed: Settings) -> None:
    product = make(tmp_path)
    start = filled(product, installed)
    snapshot = snapshot_of(product, installed)
    issues = [start + n * DAY + 7 * HOUR for n in range(1, 19)]
    windows = snapshot.windows(issues, truth_at=snapshot.known_by)
    together = windows.inputs(np.array([7, 2, 16]))
    for position, n in enumerate([7, 2, 16]):
        alone = windows.inputs(np.array([n]))
        for name in ("covariates", "covariates_mask"):
            np.testing.assert_array_equal(getattr(together, name)[position], getattr(alone, name)[0])
        np.testing.assert_allclose(getattr(alone, "covariates")[0, 0, 0, 0], (n + 3) + (n + 1) / 1000)  # noqa: B009


def test_a_forecast_sees_what_training_sees(tmp_path: Path, installed: Settings) -> None:
    product = make(tmp_path, feed={"locations": CELLS})
    start = filled(product, installed)
    snapshot = snapshot_of(product, installed)
    assert isinstance(snapshot.covariates.parts[0][0].frames.first.base, np.memmap)  # type: ignore[union-attr]
    for n in (0, 3, 9, 18):
        ws = Workspace(product, installed)
        issue = start + n * DAY + 7 * HOUR
        trained = snapshot.windows([issue], truth_at=issue).inputs(FIRST)
        future = load_covariates_at_issue(ws.covariates, ws.cadence, snapshot.locations, issue_time=issue)
        live = future.values_and_mask(np.array([issue.replace(tzinfo=None)], "datetime64[us]"), trained.target_time)
        assert future.unreadable == ()
        for one, other in zip(trained.future_covariates(snapshot.task), live, strict=True):
            assert one.tobytes() == other.tobytes()
        assert live[1].any() == (n > 0)


def test_a_run_published_after_an_issue_changes_nothing_bit_for_bit(tmp_path: Path, installed: Settings) -> None:
    product = make(tmp_path)
    start = filled(product, installed, range(1, 10))
    issue = start + 9 * DAY + 7 * HOUR

    def seen() -> tuple[bytes, ...]:
        inputs = snapshot_of(product, installed).windows([issue], truth_at=issue).inputs(FIRST)
        return inputs.covariates.tobytes(), inputs.covariates_mask.tobytes()  # type: ignore[union-attr]

    before = seen()
    publish(product, installed, issue + timedelta(microseconds=1), run_of(product, issue, shift=500.0))
    assert seen() == before
    publish(product, installed, issue + DAY, run_of(product, issue, shift=-500.0))
    assert seen() == before
    other = make_settings(tmp_path / "other")  # the test can fail: published in time, it does change it
    filled(product, other, range(1, 10))
    publish(product, other, issue, run_of(product, issue, shift=500.0))
    inputs = snapshot_of(product, other).windows([issue], truth_at=issue).inputs(FIRST)
    assert inputs.covariates.tobytes() != before[0]  # type: ignore[union-attr]


def test_a_covariate_on_a_grid_comes_to_the_stations(tmp_path: Path, installed: Settings) -> None:
    product = make(tmp_path, feed={"locations": CELLS}, stations=3)
    start = filled(product, installed)
    snapshot = snapshot_of(product, installed)
    issue = start + 9 * DAY + 7 * HOUR
    values, mask = snapshot.windows([issue], truth_at=issue).inputs(FIRST).future_covariates(snapshot.task)
    # Stations at (-10, 51.5), (-8, 53.25), (-6, 55); cell number n has 100 n more, the first row is at 55 north.
    np.testing.assert_allclose(values[0, 0, 0], [11.009 + 300, 11.009 + (100 + 400) / 2, 11.009 + 200], rtol=1e-5)
    assert mask[0, :, 0].all()


def test_covariates_never_published_are_masked(tmp_path: Path, installed: Settings) -> None:
    product = make(tmp_path)
    fill(product, installed)
    snapshot = snapshot_of(product, installed)
    issue = end_of(product) - 2 * DAY
    values, mask = snapshot.windows([issue], truth_at=issue).inputs(FIRST).future_covariates(snapshot.task)
    assert values.shape == mask.shape == (1, 2, 2, 2)
    assert not mask.any()
    assert not values.any()


def test_a_product_without_covariates_has_none(tmp_path: Path, installed: Settings) -> None:
    product = make_product(tmp_path, days=20)
    fill(product, installed)
    snapshot = snapshot_of(product, installed)
    inputs = snapshot.windows([snapshot.known_by], truth_at=snapshot.known_by).inputs(FIRST)
    assert (inputs.covariates, inputs.covariates_mask) == (None, None)
    assert snapshot.digest == snapshot.frames.digest()


def test_other_covariates_are_another_snapshot_and_another_training(tmp_path: Path, installed: Settings) -> None:
    product = make(tmp_path)
    start = filled(product, installed, range(1, 9))

    def keys(settings: Settings, of: Product = product) -> tuple[str, str]:
        snapshot = snapshot_of(of, settings)
        issues = (start + DAY,)
        return snapshot.digest, training_key(snapshot, Folds((Fold(issues, issues, issues),), issues, 1.0, 3))

    first = keys(installed)
    assert keys(installed) == first
    publish(product, installed, start + 9 * DAY, run_of(product, start + 9 * DAY))
    second = keys(installed)
    assert second[0] != first[0]
    assert second[1] != first[1]
    stations = pd.read_csv(tmp_path / "stations.csv", dtype=str)
    stations.assign(longitude=["-9.5", "-6.5"]).to_csv(tmp_path / "elsewhere.csv", index=False)
    moved = make(tmp_path, feed={"locations": {"kind": "stations", "path": "elsewhere.csv"}})
    assert keys(installed, moved)[0] != second[0]


def test_an_unreadable_covariate_stops_training_but_not_a_forecast(
    tmp_path: Path, installed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make(tmp_path, covariates={"nwp": FEED, "sea": deepcopy(FEED)})
    start = filled(product, installed)
    publish(product, installed, start, run_of(product, start, days=20), name="sea")
    ws = Workspace(product, installed)

    class Torn(Observations):
        def scan(self, **_: object) -> Iterator[pa.Table]:
            raise StoreError("nwp: the newest commit is torn")

        def read(self, **_: object) -> pa.Table:
            raise StoreError("nwp: the newest commit is torn")

    sound = ws.covariates["nwp"].observations
    ws.covariates["nwp"].observations = Torn(sound.table.store, sound.variables, delay=sound.delay, mode=sound.mode)
    with pytest.raises(StoreError, match="torn"):
        take_snapshot(ws, known_by=start + 15 * DAY)
    issue = start + 9 * DAY + 7 * HOUR
    locations = read_locations(product.feed)
    future = load_covariates_at_issue(ws.covariates, ws.cadence, locations, issue_time=issue)
    assert future.unreadable == (UnreadableCovariate("nwp", "nwp: the newest commit is torn"),)
    times = np.array([[issue.replace(tzinfo=None, hour=0) + DAY]], "datetime64[us]")
    _, mask = future.values_and_mask(np.array([issue.replace(tzinfo=None)], "datetime64[us]"), times)
    assert mask.any(axis=(0, 1, 3)).tolist() == [False, False, True, False]
