"""What every model promises, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.base import Epoch, Model
from models.catalogue import MODELS
from models.errors import ModelError, NotFittedError
from models.task import Task
from tests.unit.models.conftest import World

pytestmark = pytest.mark.parametrize("name", list(MODELS))


def sound(task: Any, quantiles: Any, n: Any) -> None:
    assert quantiles.dtype == np.float32
    assert quantiles.shape == (n, task.leads, len(task.targets), len(task.locations), len(task.quantile_levels))
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    for position, channel in enumerate(task.target_channels):
        low, high = task.limits[channel]
        assert low is None or (quantiles[:, :, position] >= low).all()
        assert high is None or (quantiles[:, :, position] <= high).all()


def test_quantiles_are_finite_ordered_and_within_limits(
    name: str, world: World, perturbed: Callable[[str], Model]
) -> None:
    inputs = world.test.all().inputs
    sound(world.task, perturbed(name).predict(inputs), len(inputs))


@pytest.mark.parametrize("hidden", ["nothing", "one station", "latest frame", "everything"])
def test_missing_values_never_give_nan(name: str, hidden: Any, world: World, perturbed: Callable[[str], Model]) -> None:
    inputs = world.test.batch(np.arange(5)).inputs
    mask = inputs.mask.copy()
    if hidden == "one station":
        mask[..., 1] = False
    elif hidden == "latest frame":
        mask[:, -1] = False
    elif hidden == "everything":
        mask[:] = False
    sound(world.task, perturbed(name).predict(replace(inputs, mask=mask)), 5)


def test_masked_values_change_nothing(name: str, world: World, perturbed: Callable[[str], Model]) -> None:
    inputs = world.test.batch(np.arange(5)).inputs
    mask = inputs.mask.copy()
    mask[..., 2] = False
    junk = np.where(mask, inputs.values, np.float32(np.nan))
    clean = np.where(mask, inputs.values, np.float32(0.0))
    one = perturbed(name).predict(replace(inputs, mask=mask, values=junk))
    two = perturbed(name).predict(replace(inputs, mask=mask, values=clean))
    np.testing.assert_array_equal(one, two)


def test_values_after_the_issue_time_change_nothing(name: str, world: World, perturbed: Callable[[str], Model]) -> None:
    issue = int(world.test.issues[3])
    later = world.test.values.copy()
    later[issue + 1 :] = 59.0
    changed = replace(world.test, values=later)
    one = perturbed(name).predict(world.test.batch(np.arange(4)).inputs)
    two = perturbed(name).predict(changed.batch(np.arange(4)).inputs)
    np.testing.assert_array_equal(one, two)


def test_each_issue_is_forecast_alone(name: str, world: World, perturbed: Callable[[str], Model]) -> None:
    many = perturbed(name).predict(world.test.batch(np.arange(8)).inputs)
    single = perturbed(name).predict(world.test.batch(np.array([5])).inputs)
    np.testing.assert_allclose(single[0], many[5], rtol=1e-4, atol=1e-4)


def test_no_issue_gives_no_forecast(name: str, world: World, perturbed: Callable[[str], Model]) -> None:
    sound(world.task, perturbed(name).predict(world.test.batch(np.arange(0)).inputs), 0)


def test_permuted_stations_permute_the_forecast_and_nothing_else(
    name: str, world: World, fitted: Callable[[str], Model], new: Callable[..., Model]
) -> None:
    order = np.array([2, 0, 3, 1])
    other = world.permuted(order)
    model = new(name, other.task)
    model.fit(other.train, other.validation)
    here = fitted(name).predict(world.test.all().inputs)[:, :, :, order]
    np.testing.assert_allclose(model.predict(other.test.all().inputs), here, rtol=2e-3, atol=2e-3)


def test_same_seed_same_model_and_callers_random_state_untouched(
    name: str, world: World, fitted: Callable[[str], Model], new: Callable[..., Model]
) -> None:
    before = np.random.get_state(legacy=False)["state"]["key"].copy()
    model = new(name, world.task)
    model.fit(world.train, world.validation)
    twin = fitted(name).state()
    for key, array in model.state().items():
        np.testing.assert_array_equal(array, twin[key], err_msg=key)
    np.testing.assert_array_equal(before, np.random.get_state(legacy=False)["state"]["key"])


def test_state_and_options_make_a_twin(
    name: str, world: World, perturbed: Callable[[str], Model], new: Callable[..., Model]
) -> None:
    model = perturbed(name)
    twin = new(name, world.task, **model.options())
    assert twin.parameters == 0
    twin.load_state(model.state())
    assert twin.parameters == model.parameters > 0
    inputs = world.test.all().inputs
    np.testing.assert_array_equal(twin.predict(inputs), model.predict(inputs))


def test_incomplete_state_is_refused(
    name: str, world: World, fitted: Callable[[str], Model], new: Callable[..., Model]
) -> None:
    state = fitted(name).state()
    state.pop(next(iter(state)))
    with pytest.raises(ModelError):
        new(name, world.task).load_state(state)


def test_an_unfitted_model_raises_not_fitted(name: str, world: World, new: Callable[..., Model]) -> None:
    model = new(name, world.task)
    with pytest.raises(NotFittedError, match=name):
        model.predict(world.test.batch(np.arange(1)).inputs)
    with pytest.raises(NotFittedError, match=name):
        model.state()


def test_wrong_shapes_are_refused(name: str, world: World, fitted: Callable[[str], Model]) -> None:
    inputs = world.test.batch(np.arange(2)).inputs
    with pytest.raises(ModelError, match="shape"):
        fitted(name).predict(replace(inputs, values=inputs.values[:, 1:]))


def test_windows_of_another_task_are_refused(
    name: str, world: World, new: Callable[..., Model], task_of: Callable[..., Task]
) -> None:
    model = new(name, task_of(stations=5))
    with pytest.raises(ModelError, match="another task"):
        model.fit(world.train, world.validation)


def test_no_training_windows_are_refused(name: str, world: World, new: Callable[..., Model]) -> None:
    with pytest.raises(ModelError, match="no training windows"):
        new(name, world.task).fit(replace(world.train, issues=world.train.issues[:0]), world.validation)


def test_empty_validation_is_allowed_and_progress_is_reported(
    name: str, world: World, new: Callable[..., Model]
) -> None:
    model = new(name, world.task)
    epochs: list[Epoch] = []
    none = replace(world.validation, issues=world.validation.issues[:0])
    model.fit(world.train, none, progress=epochs.append)
    assert [epoch.epoch for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert np.isfinite(epochs[-1].train_loss)
    sound(world.task, model.predict(world.test.batch(np.arange(2)).inputs), 2)


def test_station_that_never_reported_gets_a_forecast(
    name: str, task_of: Callable[..., Task], world_of: Callable[..., World], new: Callable[..., Model]
) -> None:
    world = world_of(task_of(), dead=1)
    model = new(name, world.task)
    model.fit(world.train, world.validation)
    quantiles = model.predict(world.test.batch(np.arange(3)).inputs)
    sound(world.task, quantiles, 3)
    # Pooled over the others, so of their order of magnitude.
    assert 3 < quantiles[..., 1, 2].mean() < 30


def test_hourly_counts_of_two_channels_work(
    name: str, task_of: Callable[..., Task], world_of: Callable[..., World], new: Callable[..., Model]
) -> None:
    task = task_of(
        stations=3,
        channels=("count", "rain"),
        step_seconds=3600,
        context=30,
        leads=5,
        transforms=("log1p", "identity"),
        limits=((0.0, None), (None, None)),
    )
    world = world_of(task, frames=900)
    model = new(name, task)
    model.fit(world.train, world.validation)
    sound(task, model.predict(world.test.batch(np.arange(3)).inputs), 3)


def test_interval_coverage_is_near_nominal(name: str, world: World, fitted: Callable[[str], Model]) -> None:
    batch = world.test.all()
    quantiles = fitted(name).predict(batch.inputs)
    inside = (batch.target >= quantiles[..., 0]) & (batch.target <= quantiles[..., -1])
    assert 0.65 < inside[batch.target_mask].mean() < 0.95


def test_grids_are_forecast_or_refused_in_one_line(
    name: str, task_of: Callable[..., Task], world_of: Callable[..., World], new: Callable[..., Model]
) -> None:
    task = task_of(
        stations=20,
        grid=(4, 5),
        longitude=tuple(float(column) for _ in range(4) for column in range(5)),
        latitude=tuple(50.0 + row for row in range(4) for _ in range(5)),
    )
    world = world_of(task, frames=300)
    try:
        model = new(name, task)
    except ModelError as error:
        assert str(error).startswith(name)
        assert "\n" not in str(error)
        return
    model.fit(world.train, world.validation)
    sound(task, model.predict(world.test.batch(np.arange(3)).inputs), 3)


def test_two_targets_are_forecast_at_once(
    name: str, task_of: Callable[..., Task], world_of: Callable[..., World], new: Callable[..., Model]
) -> None:
    task = task_of(stations=3, channels=("wind", "gust"), targets=("gust", "wind"), limits=((0.0, 60.0), (0.0, 200.0)))
    world = world_of(task, frames=300)
    world.train.values[:, 1] *= 3  # the arrays are shared by all parts
    model = new(name, task)
    model.fit(world.train, world.validation)
    quantiles = model.predict(world.test.batch(np.arange(5)).inputs)
    sound(task, quantiles, 5)
    assert quantiles[:, :, 0].mean() > 2 * quantiles[:, :, 1].mean()
