"""A covariate holds what was published by the issue time, and nothing later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.config import Product, Settings
from pipeline.errors import NightcastError
from pipeline.features.arrays import Float
from pipeline.features.covariates import Covariate, load_covariate
from pipeline.ingest.feed import OpenFeed
from pipeline.locations import Locations
from pipeline.steps import mean_length
from pipeline.times import Cadence, as_numpy
from tests.unit.features.replay import CHANNELS, DAY, HOUR, PLACES, START, Row, frames_of, replay, some_rows
from tests.world import make_product, make_settings

TIME = pa.timestamp("us", tz="UTC")
NAN = np.nan


@pytest.fixture
def installed(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def make(folder: Path, *, step: str = "1d", **options: Any) -> Product:
    feed = {
        "source": {"kind": "files", "path": "nwp.csv", "format": "csv"},
        "step": step,
        "locations": {"kind": "stations", "path": "stations.csv"},
        "variables": {"air_temperature": {}},
    }
    return make_product(folder, stations=2, days=3, covariates={"nwp": feed}, **({"delay": "30h"} | options))


def covariate_frames(product: Product, installed: Settings, name: str, issues: Sequence[datetime]) -> Float:
    """Return a covariate as known at each issue time, for the lead times of a model."""
    cadence = Cadence.of(product)
    origins = [cadence.origin(issue) for issue in issues]
    step = mean_length(cadence.step)
    first, last = min(origins) + step, max(origins) + cadence.leads * step
    covariate = load_covariate(
        OpenFeed(product.covariates[name], installed), known_by=max(issues), since=first, until=last
    )
    ahead = np.arange(1, cadence.leads + 1) * np.timedelta64(step)
    return values_of(covariate, instants(issues), instants(origins)[:, None] + ahead)


def instants(times: Iterable[datetime]) -> NDArray[np.datetime64]:
    return np.array([as_numpy(time) for time in times])


def values_of(covariate: Covariate, issues: NDArray[np.datetime64], times: NDArray[np.datetime64]) -> Float:
    """Return the values of a covariate, NaN where unknown."""
    values, mask = covariate.values_and_mask(issues, times)
    assert not values[~mask].any()
    return np.where(mask, values, np.float32(np.nan))


def publish(product: Product, installed: Settings, at: datetime, *values: tuple[datetime, str, float]) -> None:
    """Publish one model run at an instant."""
    rows = [dict(zip(("valid_time", "location", "air_temperature"), one, strict=True)) for one in values]
    schema = pa.schema([("valid_time", TIME), ("location", pa.string()), ("air_temperature", pa.float64())])
    store = OpenFeed(product.covariates["nwp"], installed).observations
    store.append(pa.Table.from_pylist(rows, schema=schema), at=at, payload="run")


def test_the_newest_run_published_by_the_issue_time_counts(tmp_path: Path, installed: Settings) -> None:
    product = make(tmp_path)
    day = [START + n * DAY for n in range(20)]
    issue = day[5] + 7 * HOUR  # delay 30 h: the newest frame is that of day 4, the leads are those of days 5, 6 and 7
    publish(product, installed, day[3], *((day[n], place, 280.0 + n) for n in (4, 5, 6) for place in ("S0", "S1")))
    publish(product, installed, day[5], (day[6], "S0", 300.0))
    publish(product, installed, issue, (day[6], "S1", 301.0))  # in the very instant
    publish(product, installed, issue + timedelta(microseconds=1), (day[6], "S0", 999.0), (day[7], "S0", 999.0))
    found = covariate_frames(product, installed, "nwp", [issue, day[4] + 7 * HOUR, day[2]])
    assert found.shape == (3, 3, 1, 2)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0, :, 0], [[285, 285], [300, 301], [NAN, NAN]])
    np.testing.assert_array_equal(found[1, :, 0], [[284, 284], [285, 285], [286, 286]])
    assert np.isnan(found[2]).all()


def test_the_leads_are_those_of_the_target_times_of_the_inputs(tmp_path: Path, installed: Settings) -> None:
    product = make(tmp_path, horizon=4)
    times = [START + n * DAY for n in range(20)]
    publish(product, installed, START, *((time, "S1", 273.0 + n) for n, time in enumerate(times)))
    issue = START + 5 * DAY + 7 * HOUR
    found = covariate_frames(product, installed, "nwp", [issue])
    assert found[0, :, 0, 1].tolist() == [273 + n for n in (5, 6, 7, 8, 9)]
    assert np.isnan(found[0, :, 0, 0]).all()


def test_a_finer_covariate_is_read_at_the_instant_and_a_coarser_one_only_at_its_own_times(
    tmp_path: Path, installed: Settings
) -> None:
    issue = START + 2 * DAY + 7 * HOUR
    hours = [START + n * HOUR for n in range(100)]
    fine = make(tmp_path, step="1h")
    publish(fine, installed, START, *((time, "S0", 250.0 + n) for n, time in enumerate(hours)))
    assert covariate_frames(fine, installed, "nwp", [issue])[0, :, 0, 0].tolist() == [298, 322, 346]

    coarse = make(tmp_path / "coarse", step="6h", delay="1h")
    hourly = make_settings(tmp_path / "coarse")
    publish(coarse, hourly, START, *((START + 6 * n * HOUR, "S0", 250.0 + n) for n in range(9)))
    covariate = load_covariate(OpenFeed(coarse.covariates["nwp"], hourly), known_by=START + DAY)
    times = np.array([[as_numpy(START + n * HOUR) for n in (-6, 0, 1, 6, 7, 48, 54)]])
    found = values_of(covariate, np.array([as_numpy(START + DAY)]), times)[0, :, 0, 0]
    np.testing.assert_array_equal(found, [NAN, 250, NAN, 251, NAN, 258, NAN])


def test_the_whole_history_is_mapped_and_has_the_same_values(tmp_path: Path, installed: Settings) -> None:
    product = make(tmp_path)
    for run in range(8):
        at = START + run * DAY
        publish(product, installed, at, *((at + n * DAY, "S0", 250.0 + 10 * run + n) for n in range(1, 6)))
    issues = [START + n * DAY + 7 * HOUR for n in range(1, 8)]
    known_by = issues[-1] + DAY
    whole = load_covariate(OpenFeed(product.covariates["nwp"], installed), known_by=known_by)
    assert whole.frames is not None
    assert isinstance(whole.frames.first.base, np.memmap)
    assert (installed.home / "cache" / "frames" / "tiny-wind.nwp").is_dir()
    leads = np.arange(3) * np.timedelta64(DAY)
    times = instants(issue - 7 * HOUR for issue in issues)[:, None] + leads
    np.testing.assert_array_equal(
        values_of(whole, instants(issues), times), covariate_frames(product, installed, "nwp", issues)
    )


def test_a_feed_without_observations_is_unknown(tmp_path: Path, installed: Settings) -> None:
    product = make(tmp_path)
    issue = START + 5 * DAY + 7 * HOUR
    found = covariate_frames(product, installed, "nwp", [issue])
    assert found.shape == (1, 3, 1, 2)
    assert np.isnan(found).all()
    whole = load_covariate(OpenFeed(product.covariates["nwp"], installed), known_by=issue)
    assert (whole.frames, whole.channels) == (None, ("air_temperature",))
    nothing = np.zeros(0, "datetime64[us]")
    assert values_of(whole, nothing, nothing.reshape(0, 3)).shape == (0, 3, 1, 2)


LOCATIONS = Locations(PLACES, PLACES, (0.0, 1.0), (0.0, 1.0))


def covariate_of(rows: list[Row], product: Product, known_by: datetime) -> Covariate:
    feed = product.covariates["nwp"].model_copy(update={"variables": dict.fromkeys(CHANNELS)})
    return Covariate(feed, LOCATIONS, frames_of(rows), known_by)


@pytest.fixture(scope="module")
def any_product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    return make(tmp_path_factory.mktemp("covariates"))


@given(some_rows(days=8), some_rows(days=8), st.lists(st.integers(-3, 30), min_size=1, max_size=4), st.data())
@settings(max_examples=120, deadline=None)
def test_nothing_published_after_an_issue_time_is_seen(
    any_product: Product, rows: list[Row], others: list[Row], quarters: list[int], data: st.DataObject
) -> None:
    issues = [START + quarter * 6 * HOUR for quarter in quarters]
    times = [[START + (quarter // 4 + lead) * DAY for lead in range(-1, 4)] for quarter in quarters]
    arrays = (
        np.array([as_numpy(issue) for issue in issues]),
        np.array([[as_numpy(time) for time in one] for one in times]),
    )
    found = values_of(covariate_of(rows, any_product, max(issues)), *arrays)
    for n, issue in enumerate(issues):
        np.testing.assert_array_equal(found[n], replay(rows, issue, times[n]))
    # Whatever is published after the last issue time changes nothing, on and beyond the axis.
    before = [row for row in rows if row.known_at <= max(issues)]
    later = {row[:3]: row for row in others + rows if row.known_at > max(issues)}.values()
    mixed = [*before, *data.draw(st.permutations(list(later)))]
    if any(row.location in PLACES for row in mixed):
        again = values_of(covariate_of(mixed, any_product, max(issues)), *arrays)
        assert again.tobytes() == found.tobytes()


def test_an_issue_time_after_what_was_read_is_refused(any_product: Product) -> None:
    covariate = covariate_of([Row(START, "A", START, 1.0, 1.0)], any_product, START)
    late = np.array([as_numpy(START + HOUR)])
    with pytest.raises(NightcastError, match="read as known by 2001-01-01"):
        values_of(covariate, late, late[:, None])
