from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.errors import ModelError
from models.statistics.calendar import Basis, candidates, cycles
from models.statistics.climate import Climate, fit_climate
from models.statistics.dressing import fit_dressing, level_widths, pinball
from models.statistics.series import Series, collect
from models.statistics.transforms import forward, inverse
from models.task import Task
from tests.unit.models.conftest import World

HOUR = 3600


def hours(n: Any, start: Any = "2024-01-01") -> Any:
    return np.datetime64(start, "s") + np.arange(n) * np.timedelta64(HOUR, "s")


def test_basis_grows_with_record_and_step() -> None:
    assert candidates(100, 86_400) == (Basis(),)
    assert candidates(700, 86_400) == (Basis(annual=2),)
    assert candidates(3650, 86_400) == (Basis(annual=3),)
    assert candidates(20, HOUR) == (Basis(daily=4),)
    assert candidates(400, HOUR) == (Basis(2, 4), Basis(2, 0, weekly=True))
    assert candidates(20, 6 * HOUR) == (Basis(daily=2),)


def test_hours_of_the_week_begin_on_monday() -> None:
    rows = Basis(weekly=True)(np.array(["2024-01-01T00:30", "2024-01-07T23:00"], "datetime64[s]"))
    assert rows.shape == (2, 169)
    assert rows[0, 1] == 1
    assert rows[1, 168] == 1
    assert (rows.sum(-1) == 2).all()


def test_cycles_close_after_a_day_a_week_and_a_year() -> None:
    at = cycles(hours(24 * 7 + 1))
    np.testing.assert_allclose(at[0, 2:], at[-1, 2:], atol=1e-4)
    assert np.abs(at[0] - at[12]).max() > 0.9


def test_weekly_profile_is_found_and_chosen_by_validation(task_of: Callable[..., Task]) -> None:
    task = task_of(stations=1, step_seconds=HOUR)
    time = hours(24 * 7 * 10)
    day = (np.arange(len(time)) // 24) % 7
    values = np.where(day < 5, 5.0, 1.0)[:, None, None].astype(np.float32)
    values += 0.1 * np.random.default_rng(0).normal(size=values.shape).astype(np.float32)
    train = Series(time[:-168], values[:-168], np.ones_like(values[:-168], bool))
    held = Series(time[-168:], values[-168:], np.ones_like(values[-168:], bool))
    climate = fit_climate(task, train, held)
    assert climate.basis.weekly
    mean, spread = climate.at(held.time)
    np.testing.assert_allclose(mean, np.where(day[-168:] < 5, 5.0, 1.0)[:, None, None], atol=0.4)
    assert (spread > 0).all()


def test_station_without_data_takes_the_pool_and_a_constant_one_has_a_spread(task_of: Callable[..., Task]) -> None:
    task = task_of(stations=3)
    time = np.datetime64("2020-01-01", "s") + np.arange(900) * np.timedelta64(86_400, "s")
    season = 5 + np.cos(2 * np.pi * np.arange(900) / 365.2425)
    values = np.stack([season, np.zeros(900), np.full(900, 7.0)], axis=-1)[:, None].astype(np.float32)
    mask = np.broadcast_to([True, False, True], values.shape)
    climate = fit_climate(task, Series(time, values, mask), None)
    mean, spread = climate.at(time)
    np.testing.assert_allclose(mean[:, 0, 0], season, atol=0.05)
    np.testing.assert_allclose(mean[:, 0, 1], (season + 7) / 2, atol=0.05)
    assert np.isfinite(spread).all()
    assert (spread > 0).all()


def test_gaps_leave_least_squares_on_the_frames_that_are_known(task_of: Callable[..., Task]) -> None:
    """Few, some and nearly all frames missing: penalised normal equations of each station, drawn to the pool."""
    rng = np.random.default_rng(2)
    known = rng.random((600, 4)) >= np.array([0.0, 0.05, 0.4, 0.97])
    values = np.where(known, rng.normal(size=known.shape) + np.arange(4), 0).astype(np.float32)
    series = Series(hours(600), values[:, None], known[:, None])
    climate = fit_climate(task_of(stations=4, step_seconds=HOUR), series, None)
    x = climate.basis(series.time).astype(float)
    penalty = np.diag([1e-6] + [1.0] * (x.shape[1] - 1))
    grams = [x[there].T @ x[there] for there in known.T]
    sums = [x[there].T @ column[there] for there, column in zip(known.T, values.T, strict=True)]
    pool = np.linalg.solve(sum(grams) + penalty, sum(sums))
    for place, (gram, total) in enumerate(zip(grams, sums, strict=True)):
        expected = np.linalg.solve(gram + 2 * penalty, total + 2 * penalty @ pool)
        np.testing.assert_allclose(climate.mean[:, 0, place], expected, atol=1e-5)


def test_climate_survives_its_state(task_of: Callable[..., Task], world: World) -> None:
    climate = fit_climate(world.task, collect(world.train), None)
    twin = Climate.from_state(world.task, climate.state())
    for one, two in zip(climate.at(world.test.time), twin.at(world.test.time), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(ModelError, match="mean"):
        Climate.from_state(task_of(stations=9), climate.state())


def test_collect_restores_the_record(world: World) -> None:
    series = collect(world.train)
    start = np.flatnonzero(world.train.time == series.time[0])[0]
    rows = slice(start, start + len(series.time))
    np.testing.assert_array_equal(series.time, world.train.time[rows])
    np.testing.assert_array_equal(series.mask, world.train.mask[rows])
    expected = np.where(series.mask, np.sqrt(world.train.values[rows]), 0)
    np.testing.assert_allclose(series.values, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["identity", "sqrt", "log1p"])
def test_transforms_invert_and_rise(kind: Any) -> None:
    values = np.array([0.0, 0.5, 3.0, 1000.0], np.float32)
    np.testing.assert_allclose(inverse(kind, forward(kind, values)), values, rtol=1e-4)
    anywhere = inverse(kind, np.linspace(-100, 1000, 50, dtype=np.float32))
    assert np.isfinite(anywhere).all()
    assert (np.diff(anywhere) >= 0).all()


def test_unknown_transform_is_refused() -> None:
    for function in (forward, inverse):
        with pytest.raises(ModelError, match="cube"):
            function("cube", np.zeros(1, np.float32))


def test_dressing_takes_empirical_quantiles_and_pools_the_rest() -> None:
    errors = np.full((999, 1, 1, 2), np.nan, np.float32)
    errors[:, 0, 0, 0] = np.arange(1, 1000)
    dressing = fit_dressing((0.1, 0.5, 0.9), errors)
    # With 999 errors the plotting position k / 1000 falls on whole numbers.
    np.testing.assert_allclose(dressing.offsets[0, 0, 0], [100, 500, 900], rtol=1e-5)
    np.testing.assert_allclose(dressing.offsets[0, 0, 1], [100, 500, 900], rtol=1e-5)
    nothing = fit_dressing((0.1, 0.5, 0.9), np.full((5, 1, 1, 1), np.nan, np.float32))
    np.testing.assert_allclose(nothing.offsets[0, 0, 0], [-1.2816, 0, 1.2816], atol=1e-4)


def test_pinball_of_one_level_worked_by_hand() -> None:
    # Only the median, width 1/2: 0.5 |error| times 1/2.
    np.testing.assert_allclose(level_widths((0.5,)), [0.5])
    np.testing.assert_allclose(pinball(np.array([[2.0], [-2.0]], np.float32), (0.5,)), [0.5, 0.5])
    np.testing.assert_allclose(level_widths((0.1, 0.5, 0.9)), [0.25, 0.4, 0.25])
