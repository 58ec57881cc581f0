"""EofBasis that drive each other are recovered; gaps, leftovers, permutation and state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.baselines.eof import EofBasis, advance, autoregression, find_eofs
from models.catalogue import build
from models.errors import ModelError
from models.task import Task
from tests.unit.models.conftest import World

TURN = 0.97 * np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])


def spiral(frames: Any, seed: Any = 4) -> Any:
    """Two amplitudes that turn into each other, stirred by noise: (frame, 2)."""
    noise = np.random.default_rng(seed).normal(size=(frames, 2)) * 0.1
    out = np.zeros((frames, 2))
    for frame in range(1, frames):
        out[frame] = TURN @ out[frame - 1] + noise[frame]
    return out


@pytest.fixture(scope="module")
def parts(task_of: Callable[..., Task], world_of: Callable[..., World]) -> Any:
    """Twelve stations on the equator that see the two amplitudes through two patterns."""
    task = task_of(stations=12, latitude=(0.0,) * 12, transforms=("identity",), limits=((None, None),))
    world = world_of(task, frames=1500, gaps=0.0)
    maps = np.random.default_rng(0).normal(size=(2, 12))
    values = (spiral(1500) @ maps)[:, None].astype(np.float32)
    return [replace(part, values=values) for part in (world.train, world.validation, world.test)]


@pytest.fixture(scope="module")
def model(parts: Any) -> Any:
    model = build("linear-inverse", parts[0].task, modes=2, lags=1)
    model.fit(*parts[:2])
    return model


def test_known_system_is_recovered(model: Any) -> None:
    # The steps are those of the amplitudes in another basis, so they have the same roots.
    found = np.linalg.eigvals(model.state()["core.steps"][0])
    expected = np.linalg.eigvals(TURN)
    np.testing.assert_allclose(sorted(found.imag), sorted(expected.imag), atol=0.02)
    np.testing.assert_allclose(found.real, expected.real, atol=0.02)


def test_forecast_is_as_good_as_the_system_allows(model: Any, parts: Any) -> None:
    batch = parts[2].all()
    error = model.predict(batch.inputs)[..., 2] - batch.target
    turn, maps = np.eye(2), np.random.default_rng(0).normal(size=(2, 12))
    left = np.zeros(12)
    for lead in range(3):
        # Noise of each step yet to come, turned by the steps after it.
        left = left + np.square(maps.T @ turn).sum(1) * 0.01
        turn = turn @ TURN
        assert np.square(error[:, lead]).mean() < 1.15 * left.mean()


def test_autoregression_of_two_lags_follows_an_oscillation() -> None:
    # Of a wave of period 8: next = 2 cos(45 deg) now - before.
    wave = np.cos(np.arange(400) * np.pi / 4)[:, None].astype(np.float32)
    steps = autoregression(wave, np.ones(400, bool), 2, 1e-6)
    np.testing.assert_allclose(steps[:, 0, 0], [np.sqrt(2), -1], atol=2e-3)
    last = np.array([1, np.sqrt(0.5)], np.float32).reshape(2, 1, 1)
    np.testing.assert_allclose(advance(steps, last)[:, 0, 0], [np.sqrt(0.5), 1], atol=2e-3)


def test_a_system_that_grows_is_slowed() -> None:
    growing = (1.05 ** np.arange(60))[:, None].astype(np.float32)
    assert autoregression(growing, np.ones(60, bool), 1, 1e-6)[0, 0, 0] == pytest.approx(0.9999)


def test_strong_ridge_leaves_each_amplitude_to_itself() -> None:
    amplitudes = spiral(3000).astype(np.float32)
    steps = autoregression(amplitudes, np.ones(3000, bool), 1, 1e6)[0]
    assert abs(steps[0, 1]) < 1e-3
    assert steps[0, 0] == pytest.approx(0.97 * np.cos(0.6), abs=0.05)


def test_amplitudes_come_from_the_known_cells_alone() -> None:
    maps = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, -0.5]], np.float32)
    patterns = EofBasis(maps, np.ones(4, np.float32), np.array([4, 1], np.float32), 0.0)
    truth = np.array([[3.0, 1.0]], np.float32)
    known = np.array([[True, True, False, False]])
    frame = np.where(known, patterns.field(truth), np.float32(99))
    zero = np.zeros((1, 2), np.float32)
    np.testing.assert_allclose(patterns.amplitudes(frame, known, zero), truth, rtol=2e-3)
    # One cell does not tell the two apart; the more variable pattern takes most: 2 = (3 + 1) / 2 is shared 4 : 1.
    one = np.array([[True, False, False, False]])
    np.testing.assert_allclose(patterns.amplitudes(frame, one, zero), [[3.2, 0.8]], rtol=2e-3)
    none = np.zeros((1, 4), bool)
    np.testing.assert_array_equal(patterns.amplitudes(frame, none, truth), truth)


def test_eofs_weight_cells_by_area(task_of: Callable[..., Task]) -> None:
    # Unrelated anomalies of equal spread at the equator and at 60 degrees north, where a cell is half as large.
    task = task_of(stations=2, latitude=(0.0, 60.0), longitude=(0.0, 0.0))
    data = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)[:, None]
    found = find_eofs(task, data, np.ones(data.shape, bool), 2)
    np.testing.assert_allclose(np.abs(found.maps), [[1, 0], [0, 1]], atol=1e-5)
    np.testing.assert_allclose(found.variance, [1, 0.5], rtol=1e-5)
    assert found.first(1).noise == pytest.approx(0.25)


def test_hidden_stations_are_estimated_from_the_eofs(model: Any, parts: Any) -> None:
    batch = parts[2].all()
    mask = batch.inputs.mask.copy()
    mask[..., 6:] = False
    forecast = model.predict(replace(batch.inputs, mask=mask))[:, 0, 0, :, 2]
    whole = model.predict(batch.inputs)[:, 0, 0, :, 2]
    assert np.sqrt(np.square(forecast - whole).mean()) < 0.1 * whole.std()


def test_missing_last_frame_is_bridged_by_the_dynamics(model: Any, parts: Any) -> None:
    batch = parts[2].all()
    mask = batch.inputs.mask.copy()
    mask[:, -1] = False
    bridged = model.predict(replace(batch.inputs, mask=mask))[:, 0, 0, :, 2]
    # Lead 1 without the last frame is lead 2 of the issue time before.
    before = model.predict(batch.inputs)[:-1, 1, 0, :, 2]
    assert np.corrcoef(bridged[1:].ravel(), before.ravel())[0, 1] > 0.999


def test_residuals_are_damped_by_their_autocorrelation(
    task_of: Callable[..., Task], world_of: Callable[..., World]
) -> None:
    task = task_of(stations=8, latitude=(0.0,) * 8, transforms=("identity",), limits=((None, None),))
    world = world_of(task, frames=3000, gaps=0.0)
    rng = np.random.default_rng(6)
    own, shared = np.zeros((3000, 8)), np.zeros(3000)
    for frame in range(1, 3000):
        own[frame] = 0.9 * own[frame - 1] + rng.normal(size=8)
        shared[frame] = 0.5 * shared[frame - 1] + 5 * rng.normal()
    values = (own + shared[:, None])[:, None].astype(np.float32)
    parts = [replace(part, values=values) for part in (world.train, world.validation, world.test)]
    model = build("linear-inverse", task, modes=1, lags=1)
    model.fit(*parts[:2])
    np.testing.assert_allclose(model.state()["core.residual_correlation"][1], 0.9, atol=0.05)
    np.testing.assert_allclose(model.state()["core.steps"], 0.5, atol=0.06)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
def test_any_gaps_leave_finite_ordered_quantiles_and_each_issue_alone(
    model: Any, parts: Any, seed: int, share: Any
) -> None:
    inputs = parts[2].batch(np.arange(3)).inputs
    mask = np.random.default_rng(seed).random(inputs.mask.shape) < share
    quantiles = model.predict(replace(inputs, mask=mask, values=np.where(mask, inputs.values, np.float32(np.nan))))
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    one = parts[2].batch(np.array([1])).inputs
    alone = model.predict(replace(one, mask=mask[1:2]))
    np.testing.assert_allclose(alone[0], quantiles[1], rtol=1e-3, atol=1e-3)


def test_nothing_known_is_climatology_with_its_full_spread(model: Any, parts: Any) -> None:
    inputs = parts[2].batch(np.arange(3)).inputs
    nothing = replace(inputs, mask=np.zeros_like(inputs.mask))
    mean, deviation = model.core(nothing, *model.anomalies(nothing))
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(deviation, 1)


def test_stations_permute(world_of: Callable[..., World], task_of: Callable[..., Task]) -> None:
    world = world_of(task_of(stations=9), gaps=0.05)
    order = np.random.default_rng(1).permutation(9)
    other = world.permuted(order)
    here, there = (build("linear-inverse", part.task, modes=3, lags=2) for part in (world, other))
    here.fit(world.train, world.validation)
    there.fit(other.train, other.validation)
    one, two = here.predict(world.test.all().inputs), there.predict(other.test.all().inputs)
    np.testing.assert_allclose(two, one[:, :, :, order], rtol=2e-3, atol=2e-3)


def test_a_model_with_the_same_state_gives_bit_equal_forecasts(model: Any, parts: Any) -> None:
    twin = build("linear-inverse", parts[0].task, **model.options())
    twin.load_state(model.state())
    inputs = parts[2].all().inputs
    np.testing.assert_array_equal(twin.predict(inputs), model.predict(inputs))


@pytest.mark.parametrize(("options", "match"), [({"modes": 0}, "modes"), ({"lags": 0}, "lags"), ({"lags": 7}, "lags")])
def test_options_out_of_range_are_refused(options: dict[str, Any], match: str, task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match=match):
        build("linear-inverse", task_of(), **options)
