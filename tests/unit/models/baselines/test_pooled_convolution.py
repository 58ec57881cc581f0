"""A field that moves is forecast by moving it; edges, gaps and stations; what makes the shared weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.baselines.neighbourhood import find_neighbours
from models.baselines.normal_equations import NormalEquations
from models.catalogue import build
from models.errors import ModelError
from models.task import Task
from tests.unit.models.conftest import World

GRID = (6, 8)


@pytest.fixture(scope="module")
def gridded(task_of: Callable[..., Task]) -> Any:
    """A task on a grid of 6 x 8 cells of one degree."""
    north, east = np.meshgrid(np.arange(50, 56), np.arange(0, 8), indexing="ij")
    return task_of(
        stations=48,
        context=4,
        leads=2,
        grid=GRID,
        latitude=tuple(north.ravel().astype(float)),
        longitude=tuple(east.ravel().astype(float)),
        transforms=("identity",),
        limits=((None, None),),
    )


def moving(frames: Any = 400) -> Any:
    """Noise that a wind of one cell a step blows eastwards: (frame, 1, cell)."""
    strip = np.random.default_rng(5).normal(size=(GRID[0], GRID[1] + frames))
    fields = [strip[:, frames - t : frames - t + GRID[1]] for t in range(frames)]
    return np.stack(fields).reshape(frames, 1, -1).astype(np.float32)


@pytest.fixture(scope="module")
def blown(gridded: Any, world_of: Callable[..., World]) -> Any:
    world = world_of(gridded, frames=400, gaps=0.0)
    return [replace(part, values=moving()) for part in (world.train, world.validation, world.test)]


@pytest.fixture(scope="module")
def model(blown: Any) -> Any:
    model = build("pooled-convolution", blown[0].task)
    model.fit(*blown[:2])
    return model


def test_field_that_the_wind_moves_is_forecast_by_moving_it(model: Any, blown: Any) -> None:
    batch = blown[2].all()
    error = (model.predict(batch.inputs)[..., 2] - batch.target).reshape(-1, 2, *GRID)
    # Lead 1 comes from the cell to the west; the westernmost cells see nothing coming. What is left of a field of
    # unit variance is the climate's: a mean and a spread of each cell from 270 frames.
    assert np.sqrt(np.square(error[:, 0, :, 1:]).mean()) < 0.1
    assert np.sqrt(np.square(error[:, 0, :, 0]).mean()) > 0.7
    assert np.sqrt(np.square(error[:, 1, :, 2:]).mean()) < 0.1


def test_certain_cells_get_narrow_intervals(model: Any, blown: Any) -> None:
    quantiles = model.predict(blown[2].all().inputs)
    width = (quantiles[..., -1] - quantiles[..., 0]).mean(0)[0, 0].reshape(GRID)
    assert width[:, 4:].max() < 0.2
    assert width[:, 0].min() > 1.5


def test_gap_is_filled_by_what_is_around_and_widens_the_interval(model: Any, blown: Any) -> None:
    inputs = blown[2].batch(np.arange(40)).inputs
    mask = inputs.mask.copy()
    mask[:, :, 0, 20] = False
    whole, holed = model.predict(inputs), model.predict(replace(inputs, mask=mask))
    spread = [np.abs(q[:, 0, 0, 21, -1] - q[:, 0, 0, 21, 0]).mean() for q in (whole, holed)]
    assert spread[1] > 1.5 * spread[0]
    # A cell far from the gap, upwind of it, is forecast as before.
    np.testing.assert_array_equal(whole[:, :, :, 40], holed[:, :, :, 40])


def test_nothing_known_is_climatology_with_its_full_spread(model: Any, blown: Any) -> None:
    inputs = blown[2].batch(np.arange(3)).inputs
    nothing = replace(inputs, mask=np.zeros_like(inputs.mask))
    mean, deviation = model.core(nothing, *model.anomalies(nothing))
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(deviation, 1)


def test_missing_frame_is_bridged_by_the_one_before(
    task_of: Callable[..., Task], world_of: Callable[..., World]
) -> None:
    task = task_of(stations=3, transforms=("identity",), limits=((None, None),))
    world = world_of(task, gaps=0.0)
    slow = np.zeros((500, 1, 1))
    for frame, step in enumerate(np.random.default_rng(2).normal(size=499)):
        slow[frame + 1] = 0.9 * slow[frame] + step
    values = slow.repeat(3, axis=2).astype(np.float32)
    parts = [replace(part, values=values) for part in (world.train, world.validation, world.test)]
    model = build("pooled-convolution", task)
    model.fit(*parts[:2])
    inputs = parts[2].all().inputs
    mask = inputs.mask.copy()
    mask[:, -1] = False
    bridged = model.predict(replace(inputs, mask=mask))[:, 0, 0, 0, 2]
    # The frame before the last says 0.9 squared of the target, and all of it goes through the model.
    before = inputs.values[:, -2, 0, 0]
    assert np.corrcoef(bridged, before)[0, 1] > 0.98
    assert 0.6 < np.polyfit(before, bridged, 1)[0] < 0.95


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
def test_any_gaps_leave_finite_ordered_quantiles_and_each_issue_alone(
    model: Any, blown: Any, seed: int, share: Any
) -> None:
    inputs = blown[2].batch(np.arange(3)).inputs
    mask = np.random.default_rng(seed).random(inputs.mask.shape) < share
    quantiles = model.predict(replace(inputs, mask=mask, values=np.where(mask, inputs.values, np.float32(np.nan))))
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    one = blown[2].batch(np.array([1])).inputs
    alone = model.predict(replace(one, mask=mask[1:2]))
    np.testing.assert_allclose(alone[0], quantiles[1], rtol=1e-3, atol=1e-4)


def test_a_record_with_gaps_gives_similar_weights(blown: Any) -> None:
    mask = np.random.default_rng(3).random(blown[0].mask.shape) > 0.1
    parts = [replace(part, mask=mask) for part in blown]
    gappy = build("pooled-convolution", blown[0].task)
    gappy.fit(*parts[:2])
    batch = blown[2].all()
    error = (gappy.predict(batch.inputs)[..., 2] - batch.target).reshape(-1, 2, *GRID)
    assert np.sqrt(np.square(error[:, 0, :, 2:]).mean()) < 0.35


def test_a_model_with_the_same_state_gives_bit_equal_forecasts(model: Any, blown: Any) -> None:
    twin = build("pooled-convolution", blown[0].task, **model.options())
    twin.load_state(model.state())
    inputs = blown[2].all().inputs
    np.testing.assert_array_equal(twin.predict(inputs), model.predict(inputs))


def test_stations_permute(task_of: Callable[..., Task], world_of: Callable[..., World]) -> None:
    world = world_of(task_of(stations=25), gaps=0.05)
    order = np.random.default_rng(1).permutation(25)
    here, there = build("pooled-convolution", world.task), build("pooled-convolution", world.permuted(order).task)
    here.fit(world.train, world.validation)
    other = world.permuted(order)
    there.fit(other.train, other.validation)
    one, two = here.predict(world.test.all().inputs), there.predict(other.test.all().inputs)
    np.testing.assert_allclose(two, one[:, :, :, order], rtol=2e-3, atol=2e-3)


def test_grid_neighbours_are_periodic_in_longitude_and_end_at_the_poles(task_of: Callable[..., Task]) -> None:
    north, east = np.meshgrid([80.0, 0.0, -80.0], np.arange(0.0, 360.0, 45.0), indexing="ij")
    task = task_of(stations=24, grid=(3, 8), latitude=tuple(north.ravel()), longitude=tuple(east.ravel()))
    found = find_neighbours(task, 1)
    # Around the first cell: nothing to the north, the end of the row to the west.
    west = found.neighbours[0].reshape(3, 3)
    assert (west[0] >= 24).all()
    np.testing.assert_array_equal(west[1:], [[7, 0, 1], [15, 8, 9]])
    # Half the globe does not close.
    half = replace(task, longitude=tuple((east / 2).ravel()))
    assert find_neighbours(half, 1).neighbours[0].reshape(3, 3)[1, 0] >= 24


def test_station_neighbours_are_sorted_by_distance_then_id(task_of: Callable[..., Task]) -> None:
    task = task_of(stations=4, longitude=(0.0, 1.0, -1.0, 5.0), latitude=(0.0,) * 4)
    found = find_neighbours(task, 3)
    np.testing.assert_array_equal(found.neighbours[0], [0, 1, 2, 3])
    np.testing.assert_array_equal(found.ring, [0, 1, 1, 1])
    renamed = replace(task, locations=("a", "z", "b", "c"))
    np.testing.assert_array_equal(find_neighbours(renamed, 3).neighbours[0], [0, 2, 1, 3])


def test_normal_equations_solve_each_output_on_its_own_rows() -> None:
    x = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    y = np.array([[2, 1], [3, 0], [5, 4]], np.float32)
    known = np.array([[True, True], [True, False], [True, True]])
    sums = NormalEquations(2, 2, shared=False)
    for row in range(3):
        sums.add(x[[row]], np.where(known, y, 0)[[row]], known[[row]])
    weights = sums.solve(np.arange(2), (0.0,))[0]
    # 2 a + 3 b fits all rows; without the second, a = 1 and a + b = 4.
    np.testing.assert_allclose(weights, [[2, 1], [3, 3]], atol=1e-5)
    alone = sums.solve(np.array([0]), (0.0,))[0]
    # Through the first predictor only: (2 + 5) / 2 rows.
    np.testing.assert_allclose(alone, [[3.5, 2.5], [0.0, 0.0]], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "match"),
    [({"radius": 0}, "radius"), ({"radius": 4}, "radius"), ({"lags": 0}, "lags"), ({"lags": 9}, "lags")],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], match: str, task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match=match):
        build("pooled-convolution", task_of(), **options)
