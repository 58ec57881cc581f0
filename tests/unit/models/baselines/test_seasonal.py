"""Seasonal naive: worked by hand on a climate of mean 3 and spread 2, seasons of two days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.base import Model
from models.catalogue import build
from models.errors import ModelError
from models.task import Inputs, Task
from tests.unit.models.conftest import World


@pytest.fixture
def model(task_of: Callable[..., Task]) -> Any:
    """Drifts of 0.5 over one season and 1.5 over two, dressed with -1, 0 and 1 deviations."""
    task = task_of(
        stations=2,
        context=3,
        leads=3,
        quantile_levels=(0.25, 0.5, 0.75),
        transforms=("identity",),
        limits=((None, None),),
    )
    model = build("seasonal-naive", task, season=2)
    model.load_state(
        {
            "climate.basis": np.array([0, 0, 0]),
            "climate.mean": np.full((1, 1, 2), 3, np.float32),
            "climate.spread": np.full((1, 1, 2), 2, np.float32),
            "climate.floor": np.full((1, 2), 0.1, np.float32),
            "dressing.offsets": np.broadcast_to(np.array([-1, 0, 1], np.float32), (3, 1, 2, 3)).copy(),
            "core.season": np.array([2]),
            "core.drift": np.array([0.5, 1.5], np.float32).reshape(2, 1, 1).repeat(2, axis=2),
        }
    )
    return model


@pytest.fixture
def inputs() -> Any:
    """Values 4, 5, 6 at both stations on three days."""
    days = np.datetime64("2020-01-01", "s") + np.arange(6) * np.timedelta64(86_400, "s")
    values = np.array([4, 5, 6], np.float32).reshape(1, 3, 1, 1).repeat(2, axis=3)
    return Inputs(values, np.ones(values.shape, bool), days[None, :3], days[None, 3:])


def test_value_of_one_season_before_returns(model: Any, inputs: Any) -> None:
    forecast = model.predict(inputs)
    # The 4th day is like the 2nd, the 5th like the 3rd; the 6th like the 4th, which is not here yet, so like the 2nd.
    np.testing.assert_allclose(forecast[0, :, 0, 0, 1], [5, 6, 5], rtol=1e-6)
    # One season drifts by 0.5 spreads of 2, two seasons by 1.5.
    np.testing.assert_allclose(forecast[0, :, 0, 0, 2] - forecast[0, :, 0, 0, 1], [1, 1, 3], rtol=1e-6)


def test_gap_goes_back_another_season_and_then_to_climatology(model: Any, inputs: Any) -> None:
    mask = inputs.mask.copy()
    mask[0, 2, 0, 0] = False
    mask[0, 1, 0, 1] = False
    forecast = model.predict(replace(inputs, mask=mask))
    # Without the 3rd day, the 5th is like the 1st, two seasons before.
    np.testing.assert_allclose(forecast[0, 1, 0, 0], [1, 4, 7], rtol=1e-6)
    # Without the 2nd day nothing of its phase is left: mean 3, spread 2.
    np.testing.assert_allclose(forecast[0, 0, 0, 1], [1, 3, 5], rtol=1e-6)


@pytest.mark.parametrize(
    ("step", "context", "period", "season"),
    [
        (3600, 24, 24, 24),
        (3600, 200, 24, 24),
        (3600, 200, 168, 168),
        (86_400, 14, 7, 7),
        (30 * 86_400, 6, 6, 12),
    ],
)
def test_validation_finds_the_season_that_the_context_holds(
    step: Any, context: Any, period: Any, season: Any, task_of: Callable[..., Task], world_of: Callable[..., World]
) -> None:
    task = task_of(stations=2, step_seconds=step, context=context, transforms=("identity",), limits=((None, None),))
    world = world_of(task, frames=2000, gaps=0.0)
    # A pattern that recurs with the period and is no smooth cycle.
    wave = np.random.default_rng(3).normal(size=period)[np.arange(2000) % period]
    parts = []
    for part in (world.train, world.validation):
        noise = 0.1 * part.values / part.values.std()
        parts.append(replace(part, values=(10 * wave[:, None, None] + noise).astype(np.float32)))
    model = build("seasonal-naive", task)
    model.fit(*parts)
    assert model.state()["core.season"] == season


def test_season_longer_than_context_and_lead_is_climatology(
    world: World, fitted: Callable[[str], Model], new: Callable[..., Model]
) -> None:
    model = new("seasonal-naive", world.task, season=400)
    model.fit(world.train, world.validation)
    inputs = world.test.all().inputs
    np.testing.assert_allclose(model.predict(inputs), fitted("climatology").predict(inputs), rtol=1e-5)


def test_record_that_repeats_itself_is_forecast_exactly(
    task_of: Callable[..., Task], world_of: Callable[..., World]
) -> None:
    task = task_of(stations=2, transforms=("identity",), limits=((None, None),))
    world = world_of(task, gaps=0.0)
    values = np.sin(np.arange(500) * 2 * np.pi / 5)[:, None, None].repeat(2, axis=2).astype(np.float32)
    parts = [replace(part, values=values) for part in (world.train, world.validation, world.test)]
    model = build("seasonal-naive", task, season=5)
    model.fit(*parts[:2])
    batch = parts[2].all()
    np.testing.assert_allclose(model.predict(batch.inputs)[..., 2], batch.target, atol=2e-3)


@pytest.mark.parametrize("season", [0, -1, 1.5])
def test_an_invalid_season_is_refused(season: Any, task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match="season must be a whole number"):
        build("seasonal-naive", task_of(), season=season)
