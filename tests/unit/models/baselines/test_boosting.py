"""A nonlinear rule, covariates, gaps, and features worked by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.baselines.boosting import GradientBoosting
from models.baselines.features import FeatureBuilder, geographic_order, usable_cycles
from models.baselines.ridge import RidgeVar
from models.checkpoint import load, save
from models.errors import ModelError
from models.task import Inputs, Task
from tests.records import Record


@dataclass(frozen=True)
class WithCovariate(Record):
    """Windows whose covariate is the target with noise; missing unless `available`."""

    available: bool = True

    def batch(self, index: Any) -> Any:
        batch = super().batch(index)
        noise = np.random.default_rng(2).normal(size=self.values.shape).astype(np.float32)
        future = self.issues[index][:, None] + np.arange(1, self.task.leads + 1)
        covariates = 10 + 5 * (self.values + 0.1 * noise)[future]
        inputs = replace(batch.inputs, covariates=covariates, covariates_mask=np.full(covariates.shape, self.available))
        return replace(batch, inputs=inputs)


@pytest.fixture
def task(task_of: Callable[..., Task]) -> Any:
    return task_of(stations=4, transforms=("identity",), limits=((None, None),), leads=1, context=3)


def windows(task: Any, values: Any, first: Any, last: Any, kind: Any = Record) -> Any:
    time = (np.arange(len(values)) * task.step_seconds + 20_000 * 86_400).astype("datetime64[s]")
    issues = np.arange(max(first, task.context - 1), last - task.leads)
    return kind(task, time, values.astype(np.float32), np.ones(values.shape, bool), issues)


def cut(task: Any, values: Any, kind: Any = Record) -> Any:
    size = len(values)
    parts = (0, 0.7), (0.7, 0.85), (0.85, 1)
    return [windows(task, values, int(first * size), int(last * size), kind) for first, last in parts]


def nonlinear(frames: Any = 900) -> Any:
    """Each value is the absolute value of the previous one minus its mean, plus noise."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(frames, 1, 4))
    for frame in range(1, frames):
        values[frame] = 1.2 * np.abs(values[frame - 1]) - 1.0 + 0.5 * values[frame]
    return values


def rmse(model: Any, record: Any) -> Any:
    batch = record.all()
    median = model.predict(batch.inputs)[..., 2]
    return float(np.sqrt(np.mean(np.square(median - batch.target))))


def test_a_nonlinear_rule_is_learnt(task: Task) -> None:
    train, validation, test = cut(task, nonlinear())
    scores = []
    for model in (GradientBoosting(task, rounds=150, learning_rate=0.1), RidgeVar(task)):
        model.fit(train, validation)
        scores.append(rmse(model, test))
    assert 0.45 < scores[0] < 0.9 * scores[1]  # dressed by size, the regression bends too


def test_covariates_are_used_and_may_be_absent(task: Task) -> None:
    task = replace(task, covariates=("model",))
    train, validation, test = cut(task, nonlinear(600), WithCovariate)
    model = GradientBoosting(task, rounds=100, learning_rate=0.1)
    model.fit(train, validation)
    with_covariate, blind = rmse(model, test), rmse(model, replace(test, available=False))
    assert with_covariate < 0.35
    assert with_covariate < blind < 1.5
    without = replace(test.all().inputs, covariates=None, covariates_mask=None)
    np.testing.assert_array_equal(model.predict(without), model.predict(replace(test, available=False).all().inputs))


def test_without_any_value_the_mean_is_close_to_climatology(task: Task) -> None:
    train, validation, test = cut(task, nonlinear())
    model = GradientBoosting(task)
    model.fit(train, validation)
    inputs = test.all().inputs
    silent = replace(inputs, mask=np.zeros_like(inputs.mask))
    mean, _ = model.core(silent, *model.anomalies(silent))
    assert abs(mean).mean() < 0.25


def test_a_saved_model_gives_bit_equal_forecasts(task: Task, tmp_path: Path) -> None:
    task = replace(task, covariates=("model",), static=("altitude",), static_values=((1.0, 2.0, 3.0, 4.0),))
    train, validation, test = cut(task, nonlinear(400), WithCovariate)
    model = GradientBoosting(task, rounds=20)
    model.fit(train, validation)
    save(model, tmp_path / "model")
    twin = load(tmp_path / "model")
    inputs = test.all().inputs
    np.testing.assert_array_equal(twin.predict(inputs), model.predict(inputs))
    # The bytes of the text are not parameters.
    assert 0 < twin.parameters == model.parameters < sum(array.size for array in model.state().values())


def test_the_order_of_stations_does_not_change_the_trees(task: Task) -> None:
    order = np.array([2, 0, 3, 1])
    train, validation, test = cut(task, nonlinear(500))
    one, other = (GradientBoosting(each, rounds=50) for each in (task, train.permuted(order).task))
    one.fit(train, validation)
    other.fit(train.permuted(order), validation.permuted(order))
    forecast = other.predict(test.permuted(order).all().inputs)
    np.testing.assert_allclose(forecast, one.predict(test.all().inputs)[:, :, :, order], atol=1e-5)


def test_rows_are_sampled_from_a_long_record(task: Task) -> None:
    train, validation, _ = cut(task, nonlinear(500))
    model = GradientBoosting(task, rows=120)
    model.fit(train, validation)
    assert model.parameters > 0
    x, y = model._sample(train, 0, np.array([0]))
    assert len(x) == len(y) <= 120


def test_cells_of_a_grid_are_forecast(task_of: Callable[..., Task]) -> None:
    task = task_of(stations=60, grid=(6, 10), transforms=("identity",), limits=((None, None),), leads=4)
    rng = np.random.default_rng(0)
    record = windows(task, rng.normal(size=(60, 1, 60)), 0, 60)
    model = GradientBoosting(task, rounds=5)
    model.fit(record, replace(record, issues=record.issues[:0]))
    assert np.isfinite(model.predict(record.all().inputs)).all()


def test_few_locations_are_all_neighbours_and_many_have_one_in_each_direction(task_of: Callable[..., Task]) -> None:
    few = task_of(stations=3, longitude=(2.0, 1.0, 0.0), latitude=(50.0, 50.0, 40.0))
    np.testing.assert_array_equal(geographic_order(few), [2, 1, 0])
    np.testing.assert_array_equal(FeatureBuilder.of(few, 1).neighbours, [[2, 1, 0]] * 3)
    # Sixty in ten columns from west to east: anticlockwise from the east.
    cells = np.arange(60)
    many = task_of(stations=60, longitude=tuple((cells % 10).tolist()), latitude=tuple((0.0 + cells // 10).tolist()))
    neighbours = FeatureBuilder.of(many, 1).neighbours
    np.testing.assert_array_equal(neighbours[25], [26, 36, 35, 34, 24, 14, 15, 16])
    np.testing.assert_array_equal(neighbours[0][[0, 1, 2]], [1, 11, 10])
    assert (neighbours[0][3:] == -1).all()


def test_features_worked_by_hand(task_of: Callable[..., Task]) -> None:
    day = 4
    task = task_of(
        stations=2,
        context=6,
        leads=2,
        step_seconds=86_400 // day,
        longitude=(3.0, 4.0),
        latitude=(50.0, 51.0),
        static=("altitude",),
        static_values=((7.0, 8.0),),
    )
    values = np.arange(12, dtype=np.float32).reshape(1, 6, 1, 2)
    known = np.ones(values.shape, bool)
    known[0, 5, 0, 1] = False
    values[~known] = 0
    time = np.arange(8) * np.timedelta64(6, "h") + np.datetime64("1970-01-01T00", "s")
    inputs = Inputs(values, known, time[None, :6], time[None, 6:])
    base = np.array([[[0.5, 0.6], [0.7, 0.8]]], np.float32)
    age = np.array([[0.0, 1.0]], np.float32)
    nothing = np.zeros((1, 2, 0, 2), np.float32)
    every = np.arange(2)
    calendar = usable_cycles(task, 10)
    np.testing.assert_array_equal(calendar, [False, False, True, True, False, False])
    features = FeatureBuilder.of(task, 2)(
        inputs, values, known, base, age, nothing, calendar, target=0, leads=every, locations=every
    )
    assert features.shape == (1, 2, 2, 23)
    # Lead 2 at the first station: its frames are 8 and 10, a difference of 2; a day before frame 7 is frame 3, and a
    # week before is outside the context; the mean was 8.5, then 10 from one station; the other's last value is unknown.
    expected = [2, 0.7, 0, 8, 10, 2, 6, np.nan, 8.5, 10, 10, np.nan, 0, np.nan]
    np.testing.assert_allclose(features[0, 1, 0, :14], expected)
    np.testing.assert_allclose(features[0, 0, 1, :8], [1, 0.6, 1, 9, np.nan, np.nan, 5, np.nan])
    # Lead 2 is at 18 h, three quarters of a day; ten days are too short for year and week.
    np.testing.assert_allclose(features[0, 1, 1, -9:], [0, 0, -1, 0, 0, 0, 4, 51, 8], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rounds": 0}, "rounds must be at least 1"),
        ({"leaves": 1}, "leaves must be at least 2"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must lie within"),
        ({"lags": 4}, "lags must lie within 1..3"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], match: str, task: Task) -> None:
    with pytest.raises(ModelError, match=match):
        GradientBoosting(task, **options)


def test_missing_lightgbm_is_reported_with_the_package_to_install(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ModelError, match=r"cannot import LightGBM .*libgomp1"):
        GradientBoosting(task)


def test_damaged_trees_are_refused(task: Task) -> None:
    train, validation, _ = cut(task, nonlinear(300))
    model = GradientBoosting(task, rounds=5)
    model.fit(train, validation)
    state = model.state() | {"core.trees0.0": np.frombuffer(b"no trees", np.uint8)}
    with pytest.raises(ModelError, match="not a LightGBM model"):
        GradientBoosting(task).load_state(state)
