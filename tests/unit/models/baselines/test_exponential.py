"""The recursions of exponential smoothing, worked by hand, and series that ask for a trend or for none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.baselines.exponential import ExponentialSmoothing
from models.baselines.statespace import Systems
from models.checkpoint import load, save
from models.errors import ModelError
from models.task import Task
from tests.records import Record


@pytest.fixture
def task(task_of: Callable[..., Task]) -> Any:
    return task_of(stations=2, transforms=("identity",), limits=((None, None),), context=12)


def windows(task: Any, values: Any) -> Any:
    time = (np.arange(len(values)) * task.step_seconds + 20_000 * 86_400).astype("datetime64[s]")
    issues = np.arange(task.context - 1, len(values) - task.leads)
    return Record(task, time, values.astype(np.float32), np.ones(values.shape, bool), issues)


def wandering(task: Any, frames: Any = 1500, slope: Any = 0.0) -> Any:
    """A level that drifts back to zero over months, seen through noise; with `slope` its steps go together."""
    rng = np.random.default_rng(5)
    shape = (frames, 1, len(task.locations))
    level, pace = np.zeros(shape), np.zeros(shape)
    for frame in range(1, frames):
        pace[frame] = slope * pace[frame - 1] + (0.1 if not slope else 0.02) * rng.normal(size=shape[1:])
        level[frame] = 0.999 * level[frame - 1] + pace[frame]
    noise = 0.1 if slope else 0.2
    return windows(task, level + noise * rng.normal(size=shape))


def fitted(record: Any) -> Any:
    model = ExponentialSmoothing(record.task)
    model.fit(record, replace(record, issues=record.issues[:0]))
    return model


def core(model: Any, context: Any) -> Any:
    values = np.repeat(np.array(context, np.float32)[:, None, None], 2, axis=2)[None]
    inputs = windows(model.task, np.zeros((40, 1, 2))).batch(np.array([0])).inputs
    mean, deviation = model.core(inputs, np.nan_to_num(values), np.isfinite(values))
    return mean[0, :, 0, 0], deviation[0, :, 0, 0]


def test_candidates_are_the_recursion_of_simple_smoothing(task: Task) -> None:
    rng = np.random.default_rng(1)
    series = np.cumsum(rng.normal(size=400)) * 0.1 + rng.normal(size=400) * 0.2
    _, system = next(iter(ExponentialSmoothing(task)._candidates(series)))
    alpha = 1 / (1 + np.sqrt(system.noise[1, 1] / system.noise[0, 0]))
    assert 0.1 < alpha < 0.9
    level = series[0]
    for value in series[1:]:
        level += alpha * (value - level)
    values = series.astype(np.float32).reshape(1, -1, 1, 1)
    mean, _ = Systems.of([[system]], 3).forecast(values, np.ones(values.shape, bool), 3)
    np.testing.assert_allclose(mean.ravel(), level, rtol=1e-4)


def test_a_constant_goes_on_and_nothing_known_is_the_climate(task: Task) -> None:
    model = fitted(wandering(task))
    mean, deviation = core(model, [1.5] * 12)
    np.testing.assert_allclose(mean, 1.5, atol=0.05)
    assert (np.diff(deviation) > 0).all()
    mean, deviation = core(model, [np.nan] * 12)
    np.testing.assert_allclose(mean, 0, atol=1e-7)
    np.testing.assert_allclose(deviation, 1)


def test_gaps_leave_the_level_where_it_was(task: Task) -> None:
    model = fitted(wandering(task))
    before, _ = core(model, [np.nan, np.nan] + [1.0] * 10)
    after, _ = core(model, [1.0] * 10 + [np.nan, np.nan])
    np.testing.assert_allclose(after, before, atol=1e-3)


def test_trend_is_chosen_where_steps_go_together_and_fades(task: Task) -> None:
    rising = np.arange(12) * 0.1
    plain, _ = core(fitted(wandering(task)), rising)
    trended, _ = core(fitted(wandering(task, slope=0.95)), rising)
    np.testing.assert_allclose(np.diff(plain), 0, atol=1e-6)
    steps = np.diff(trended)
    assert (steps > 0.02).all()
    assert steps[1] < steps[0]


def test_a_saved_model_gives_bit_equal_forecasts(task: Task, tmp_path: Path) -> None:
    record = wandering(task, frames=300)
    model = fitted(record)
    save(model, tmp_path / "model")
    inputs = record.all().inputs
    np.testing.assert_array_equal(load(tmp_path / "model").predict(inputs), model.predict(inputs))


def test_large_networks_are_refused(task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match="ets: fits every location and target separately, at most 200, found 201"):
        ExponentialSmoothing(task_of(stations=201))
