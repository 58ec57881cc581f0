from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.training import metrics
from pipeline.training.backtest.score import labelled_time
from pipeline.training.backtest.sums import (
    SEASONS,
    GroupSums,
    Sums,
    seasons_and_hours,
    shared_cases,
)
from pipeline.training.metrics import intervals, nominal_coverages
from tests.world import make_product

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
COLUMNS = 5 + 2 + 5


def _sums(horizon: int, locations: int) -> Sums:
    sizes = {"lead": horizon, "season": 4, "hour": 24, "location": locations}
    return Sums(LEVELS, {kind: np.zeros((size, COLUMNS)) for kind, size in sizes.items()})


def _only(found: list[GroupSums]) -> GroupSums:
    (one,) = found
    return one


def test_the_intervals_are_those_between_levels_at_equal_distance_from_the_median() -> None:
    assert intervals(LEVELS) == ((0, 4), (1, 3))
    assert nominal_coverages(LEVELS) == (0.8, 0.5)
    assert nominal_coverages((0.5,)) == ()
    assert nominal_coverages((0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)) == (0.9, 0.8, 0.5)


def test_scores_of_two_forecasts_by_hand() -> None:
    sums = _sums(horizon=1, locations=1)
    quantiles = np.array([1, 2, 3, 4, 5], np.float32).reshape(1, 1, 1, 5).repeat(2, axis=0)
    truth = np.array([4.0, 6.0], np.float32).reshape(2, 1, 1)
    zeros = np.zeros((2, 1), int)
    sums.add(quantiles, truth, np.ones(truth.shape, bool), zeros, zeros)
    found = _only(sums.groups("overall"))
    assert found.count == 2
    assert (found.mean("absolute"), found.mean("error")) == (2.0, -2.0)
    assert found.rmse == pytest.approx(np.sqrt((1 + 9) / 2))
    assert found.coverage == (0.5, 0.5)  # 4 is inside both intervals, ends included, and 6 in none
    assert found.frequencies == (0.0, 0.0, 0.0, 0.5, 0.5)  # 4 is not above 4
    assert found.mean("crps") == pytest.approx(metrics.crps(quantiles, truth, LEVELS).mean())
    assert sums.crps_by_issue.shape == (2, 1)


def test_every_kind_of_group_has_the_same_total_and_origins_add_up() -> None:
    random = np.random.default_rng(1)
    whole, parts = _sums(2, 3), _sums(2, 3)
    quantiles = np.sort(random.normal(size=(10, 2, 3, 5)).astype(np.float32), axis=-1)
    truth = random.normal(size=(10, 2, 3)).astype(np.float32)
    shared = random.random(truth.shape) < 0.7
    season, hour = random.integers(0, 4, (10, 2)), random.integers(0, 24, (10, 2))
    whole.add(quantiles, truth, shared, season, hour)
    for part in (slice(0, 4), slice(4, 10)):
        parts.add(quantiles[part], truth[part], shared[part], season[part], hour[part])
    for kind in ("overall", "lead", "season", "hour", "location"):
        rows = np.stack([one.row for one in whole.groups(kind)])
        np.testing.assert_allclose(rows, np.stack([one.row for one in parts.groups(kind)]))
        np.testing.assert_allclose(rows.sum(axis=0), _only(whole.groups("overall")).row)
    np.testing.assert_allclose(whole.crps_by_issue, parts.crps_by_issue)
    assert whole.groups("season")[1].count == shared[season == 1].sum()
    assert whole.crps_by_issue.sum() == pytest.approx(metrics.crps(quantiles, truth, LEVELS)[shared].sum())


def test_a_group_without_forecasts_has_no_scores() -> None:
    empty = _only(_sums(1, 1).groups("overall"))
    assert empty.count == 0
    assert np.isnan([empty.mean("crps"), empty.rmse, *empty.coverage]).all()


def test_shared_cases_have_a_truth_and_a_forecast_of_every_model() -> None:
    truth = np.array([1.0, np.nan, 1.0, 1.0], np.float32)
    one, other = np.ones((4, 5), np.float32), np.ones((4, 5), np.float32)
    one[2, 3] = np.nan
    other[3] = np.nan
    assert shared_cases({"one": one, "other": other}, truth).tolist() == [True, False, False, False]


def test_season_and_hour_of_times() -> None:
    times = [[datetime(2001, 12, 1, tzinfo=UTC), datetime(2001, 3, 1, 5, tzinfo=UTC)]]
    season, hour = seasons_and_hours(times)
    assert ([SEASONS[index] for index in season[0]], hour.tolist()) == (["DJF", "MAM"], [[0, 5]])


@pytest.mark.parametrize(
    ("step", "label", "valid_time", "season", "hour"),
    [
        ("1d", "end", "2001-12-01T00:00Z", "DJF", 0),
        ("1d", "start", "2001-12-01T00:00Z", "SON", 0),
        ("month", "end", "2001-12-01T00:00Z", "SON", 0),  # November, however it is stamped
        ("day in Europe/Dublin", "start", "2001-06-01T23:00Z", "JJA", 0),  # 1 June, by its own clock
    ],
)
def test_a_value_is_grouped_by_its_valid_time_or_the_start_of_its_period(
    tmp_path: Path, step: str, label: str, valid_time: str, season: str, hour: int
) -> None:
    time = {"columns": ["time"], "label": label}
    feed = make_product(tmp_path, step="1d", feed={"step": step, "source": {"time": time}}).feed
    found = seasons_and_hours([[labelled_time(datetime.fromisoformat(valid_time), feed)]])
    assert (SEASONS[found[0][0, 0]], found[1][0, 0]) == (season, hour)
