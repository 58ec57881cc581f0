"""The climatology of the last years: what came before them has no say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.base import Model
from models.catalogue import build
from models.errors import ModelError
from models.task import Task
from tests.unit.models.conftest import World


@pytest.fixture
def warming(task_of: Callable[..., Task], world_of: Callable[..., World]) -> Any:
    """Twelve years of days around 10, then around 14 for what is about the last three years of training."""
    task = task_of(stations=2, transforms=("identity",), limits=((None, None),))
    world = world_of(task, frames=4380, gaps=0.0)
    rng = np.random.default_rng(1)
    values = 10 + rng.normal(size=world.train.values.shape)
    values[1900:] += 4
    values = values.astype(np.float32)
    return [replace(part, values=values) for part in (world.train, world.validation, world.test)]


def median(name: Any, parts: Any, **options: Any) -> Any:
    model = build(name, parts[0].task, **options)
    model.fit(*parts[:2])
    return model.predict(parts[2].all().inputs)[..., 2].mean()


def test_only_the_last_years_count(warming: Any) -> None:
    assert median("rolling-climatology", warming, years=2) == pytest.approx(14, abs=0.2)
    # All years: 1900 days of 10 and about 1150 of 14.
    assert 10.2 < median("climatology", warming) < 12.5


def test_record_shorter_than_the_years_gives_climatology(world: World, fitted: Callable[[str], Model]) -> None:
    inputs = world.test.all().inputs
    rolling, fixed = fitted("rolling-climatology"), fitted("climatology")
    np.testing.assert_array_equal(rolling.predict(inputs), fixed.predict(inputs))


def test_values_before_the_last_years_change_nothing(warming: Any) -> None:
    values = warming[0].values.copy()
    last = warming[0].issues[-1]
    values[: last - 731] = 99.0
    changed = [replace(warming[0], values=values), *warming[1:]]
    assert median("rolling-climatology", changed, years=2) == median("rolling-climatology", warming, years=2)


def test_fewer_days_than_a_window_leave_one_window(world: World) -> None:
    model = build("rolling-climatology", world.task, years=0.001)
    model.fit(world.train, world.validation)
    assert np.isfinite(model.predict(world.test.all().inputs)).all()


@pytest.mark.parametrize("years", [0, -3, float("nan"), float("inf")])
def test_years_out_of_range_are_refused(years: Any, task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match="years must lie"):
        build("rolling-climatology", task_of(), years=years)
