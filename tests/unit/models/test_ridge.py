from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.base import Model
from models.baselines import ridge as baseline
from models.baselines.ridge import RidgeVar, default_lags
from models.catalogue import build
from models.errors import ModelError
from models.statistics import moments as module
from models.statistics.dressing import pinball
from models.statistics.moments import MomentSums, Regression, effort
from models.task import Task
from tests.unit.models.conftest import World


@pytest.fixture
def sums() -> Any:
    """Three predictors and two targets, x0 and x2 related."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 3)).astype(np.float32)
    x[:, 2] += 0.8 * x[:, 0]
    y = np.stack([x[:, 0] - 2 * x[:, 1], x[:, 2]], axis=1) + 0.1 * rng.normal(size=(5000, 2))
    return x, y.astype(np.float32)


def moments(x: Any, y: Any, places: Any = 1) -> Any:
    total = MomentSums(x.shape[1], y.shape[1])
    for part in np.array_split(np.arange(len(x)), 3):
        total.add(x[part], y[part], np.ones_like(x[part]), np.ones_like(y[part]))
    return total.moments(places)


def test_complete_data_give_ordinary_ridge_weights(sums: Any) -> None:
    x, y = sums
    weights, left = moments(x, y).regress(np.ones(3, bool), 0.01)
    expected = np.linalg.solve(x.T @ x / len(x) + 0.01 * np.eye(3), x.T @ y / len(x))
    np.testing.assert_allclose(weights, expected, atol=0.02)
    errors = np.sqrt(np.square(y - x @ expected).mean(0))
    np.testing.assert_allclose(left, np.maximum(errors, 0.14 * y.std(0)), atol=0.03)


def test_missing_predictor_gives_the_regression_on_the_rest(sums: Any) -> None:
    x, y = sums
    known = np.array([True, False, True])
    weights, left = moments(x, y).regress(known, 1e-6)
    expected = np.linalg.lstsq(x[:, known], y, rcond=None)[0]
    np.testing.assert_allclose(weights[known], expected, atol=0.02)
    assert not weights[1].any()
    assert left[0] == pytest.approx(2.0, abs=0.1)  # the lost predictor had weight 2 and unit variance


def test_nothing_known_leaves_everything(sums: Any) -> None:
    x, y = sums
    weights, left = moments(x, y).regress(np.zeros(3, bool), 0.01)
    assert not weights.any()
    np.testing.assert_allclose(left, np.sqrt(np.square(y).mean(0)), rtol=0.01)


def test_no_sharing_leaves_each_location_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 4)).astype(np.float32) + rng.normal(size=(2000, 1)).astype(np.float32)
    weights, _ = moments(x, x[:, :2], places=2).localised(0.0).regress(np.ones(4, bool), 0.01)
    # Predictors and targets alternate between the two locations.
    assert not weights[1::2, 0].any()
    assert not weights[0::2, 1].any()
    assert weights[0, 0] > 0.9


def test_neighbour_helps_where_it_leads(task_of: Callable[..., Task], world_of: Callable[..., World]) -> None:
    """Station 1 repeats station 0 a day later, so only the joint regression can know."""
    world = world_of(task_of(stations=2, leads=1), frames=800, gaps=0.0)
    noise = np.random.default_rng(3).normal(size=800).astype(np.float32)
    world.train.values[:, 0, 0] = np.square(4 + noise)
    world.train.values[1:, 0, 1] = np.square(4 + noise[:-1])
    batch = world.test.all()
    errors = {}
    for name in ("damped-anomaly", "ridge-var"):
        model = build(name, world.task)
        model.fit(world.train, world.validation)
        errors[name] = np.abs(model.predict(batch.inputs)[..., 1, 2] - batch.target[..., 1]).mean()
    assert errors["ridge-var"] < 0.3 * errors["damped-anomaly"]


@pytest.mark.parametrize("reports", [0, 3])
def test_a_station_that_hardly_ever_reports_takes_no_skill_from_the_others(
    task_of: Callable[..., Task], world_of: Callable[..., World], reports: int
) -> None:
    losses = {}
    for dead in (None, 3):
        world = world_of(task_of(), dead=dead)
        if dead is not None:
            world.train.mask[100 : 100 + reports, :, dead] = True
        batch = world.test.all()
        others = np.arange(4) != 3
        for name in ("climatology", "ridge-var"):
            model = build(name, world.task)
            model.fit(world.train, world.validation)
            error = np.abs(model.predict(batch.inputs)[..., 2] - batch.target)[..., others]
            losses[name, dead] = error[batch.target_mask[..., others]].mean()
    alive, with_dead = (losses["ridge-var", dead] / losses["climatology", dead] for dead in (None, 3))
    assert alive < 0.92
    assert with_dead == pytest.approx(alive, abs=0.05)


def test_lost_stations_widen_the_interval(world: World, fitted: Callable[[str], Model]) -> None:
    inputs = world.test.all().inputs
    blind = replace(inputs, mask=np.zeros_like(inputs.mask))
    seen, unseen = (fitted("ridge-var").predict(part) for part in (inputs, blind))
    assert np.ptp(unseen, axis=-1)[:, 0].mean() > 1.1 * np.ptp(seen, axis=-1)[:, 0].mean()


def test_default_lags_follow_step_context_and_size(task_of: Callable[..., Task]) -> None:
    assert default_lags(task_of()) == 3
    assert default_lags(task_of(context=2)) == 2
    assert default_lags(task_of(step_seconds=3600, context=168)) == 24
    assert default_lags(task_of(stations=200, step_seconds=300, context=36)) == 6


def test_too_many_predictors_are_refused(task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match="predictors"):
        build("ridge-var", task_of(stations=3000, context=6), lags=3)


def gappy(kind: Any, shape: Any) -> Any:
    rng = np.random.default_rng(3)
    known = np.ones(shape, bool)
    if kind == "few cells":
        known = rng.random(shape) > 0.7
    elif kind == "stations by turns":
        for place in range(shape[2]):
            known[(np.arange(shape[0]) + rng.integers(0, 400)) % 400 < 200, :, place] = False
    elif kind == "never two neighbours together":
        known[:] = ((np.arange(shape[0])[:, None] + np.arange(shape[2])) % 2 == 0)[:, None]
    return known


@pytest.mark.parametrize("kind", ["complete", "few cells", "stations by turns", "never two neighbours together"])
@pytest.mark.parametrize("validated", [True, False])
def test_no_gap_makes_it_worse_than_climatology(
    kind: Any, validated: Any, task_of: Callable[..., Task], world_of: Callable[..., World]
) -> None:
    """Moments of a gappy record do not fit together; unmended they gave several times climatology's error."""
    world = world_of(task_of(stations=8, context=14), frames=700, gaps=0.0)
    known = gappy(kind, world.train.mask.shape)
    known[int(world.test.issues[0]) - 14 :] = True
    issues = world.validation.issues if validated else world.validation.issues[:0]
    train, validation = replace(world.train, mask=known), replace(world.validation, mask=known, issues=issues)
    fitted = {name: build(name, world.task) for name in ("climatology", "ridge-var")}
    for model in fitted.values():
        model.fit(train, validation)
    batch = world.test.all()
    for newest in (*range(13), 14):
        mask = batch.inputs.mask.copy()
        mask[:, 14 - newest :] = False
        inputs = replace(batch.inputs, mask=mask)
        losses = {
            name: pinball(batch.target[..., None] - model.predict(inputs), world.task.quantile_levels)[
                batch.target_mask
            ].sum()
            for name, model in fitted.items()
        }
        assert losses["ridge-var"] < 1.05 * losses["climatology"], newest


def test_moments_that_do_not_fit_together_are_made_to(sums: Any) -> None:
    """What is added for gaps is an estimate: here it makes x0 and x1 equal, though each explains something else."""
    x, y = sums
    total = MomentSums(3, 2)
    total.add(x, y, np.ones_like(x), np.ones_like(y))
    lost = np.zeros((3, 3))
    lost[0, 1] = lost[1, 0] = 1.0
    found = total.moments(1, (lost, np.zeros((3, 2)), np.zeros(2)))
    assert np.linalg.eigvalsh(found.predictors.astype(np.float64))[0] > 0
    weights, _ = found.regress(np.ones(3, bool), 0.003)
    assert np.abs(weights).sum(0).max() < 4


def test_weights_on_noise_shrink_to_nothing() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 60)).astype(np.float32), rng.normal(size=(200, 2)).astype(np.float32)
    weights, left = moments(x, y, places=2).regress(np.ones(60, bool), 0.01)
    assert np.square(x @ weights).mean() < 0.02
    np.testing.assert_allclose(left, y.std(0), rtol=0.05)


def test_expected_error_knows_chance_from_signal() -> None:
    rng = np.random.default_rng(0)
    x, noise = (rng.normal(size=(400, 40)).astype(np.float32) for _ in range(2))
    signal = 0.7 * x + 0.7 * noise
    assert moments(x, signal, places=40).localised(0.0).risk(0.01) == pytest.approx(-0.5, abs=0.1)
    assert moments(x, noise, places=40).risk(0.01) > 0


def many_gaps(rng: Any, size: Any) -> Any:
    """EofBasis that miss nothing, one, few, half, most or all of `size` predictors; some of them several times."""
    shares = np.array([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]).repeat(12)
    known = rng.random((len(shares), size)) >= shares[:, None]
    known[5] = np.arange(size) != 3
    return rng.permutation(np.concatenate([known, known[::3]]))


@pytest.mark.parametrize("memory", [2**26, 1], ids=["together", "one by one"])
@pytest.mark.parametrize("sharing", [1.0, 0.4, 0.0])
@pytest.mark.parametrize("ridge", [0.003, 1.0])
def test_one_factorisation_serves_every_pattern_of_gaps(
    ridge: Any, sharing: Any, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BYTES", memory)
    rng = np.random.default_rng(5)
    places, size = 4, 20
    past = rng.normal(size=(300, size)) @ (np.eye(size) + 0.3 * rng.normal(size=(size, size)))
    ahead = past @ rng.normal(size=(size, 3 * places)) / 5 + rng.normal(size=(300, 3 * places))
    found = moments(past.astype(np.float32), ahead.astype(np.float32), places=places).localised(sharing)
    known = many_gaps(rng, size)
    x = np.where(known, rng.normal(size=known.shape), 0).astype(np.float32)
    redundancy = np.where(known[:, 0], 1.0, 2.5)
    mean, deviation = Regression(found, ridge)(x, known, redundancy)
    for row in range(len(x)):
        weights, left = found.regress(known[row], ridge, redundancy=redundancy[row])
        np.testing.assert_allclose(mean[row], x[row] @ weights, atol=2e-5)
        np.testing.assert_allclose(deviation[row], left, rtol=2e-5)


def test_regression_of_no_rows_gives_no_rows(sums: Any) -> None:
    x, y = sums
    mean, deviation = Regression(moments(x, y), 0.1)(x[:0], np.ones((0, 3), bool), np.ones(0))
    assert mean.shape == deviation.shape == (0, 2)


def test_filled_gaps_equal_least_squares_on_what_is_known(sums: Any) -> None:
    """Against the equations rather than `regress`: 5000 rows leave chance next to nothing to explain."""
    x, y = sums
    known = np.array([[True, True, True], [True, False, True], [True, True, False]])
    mean, _ = Regression(moments(x, y), 0.01)(np.where(known, x[:3], 0), known, np.ones(3))
    for row, there in enumerate(known):
        gram = x[:, there].T @ x[:, there] / len(x) + 0.01 * np.eye(there.sum())
        expected = x[row, there] @ np.linalg.solve(gram, x[:, there].T @ y / len(x))
        np.testing.assert_allclose(mean[row], expected, atol=0.05)


def test_a_row_is_forecast_alike_alone_and_among_others(world: World, fitted: Callable[[str], Model]) -> None:
    model = fitted("ridge-var")
    inputs = world.test.all().inputs
    together = model.predict(inputs)
    assert len(np.unique(inputs.mask.reshape(len(together), -1), axis=0)) > 5
    for row in range(0, len(together), 9):
        alone = model.predict(world.test.batch(np.array([row])).inputs)
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-4)


def test_effort_counts_each_pattern_once_by_what_it_misses_or_knows() -> None:
    known = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]], bool)
    # EofBasis miss 0, 1 and all but 1 of 4 predictors: 4 (0 + 1 + 1) (4 + 6) operations over four rows.
    assert effort(known, 6) == 20
    assert effort(known[:0], 6) == 0


def test_costly_gaps_are_dressed_by_fewer_windows(
    world: World, fitted: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "_MAX_DRESSING_OPERATIONS", 1.0)
    monkeypatch.setattr(baseline, "_MIN_DRESSING", 60)
    model, twin = (RidgeVar(world.task) for _ in range(2))
    model.fit(world.train, world.validation)
    twin.load_state(model.state())
    counts = [len(one._past_forecasts(world.train).errors) for one in (model, twin)]
    assert counts == [60, 60]
    assert len(world.train) > 60
    monkeypatch.undo()
    thorough = fitted("ridge-var")
    assert isinstance(thorough, RidgeVar)
    assert model.loss(world.test) < 1.05 * thorough.loss(world.test)


def test_a_remark_says_where_it_forecasts_climatology(world: World, fitted: Callable[[str], Model]) -> None:
    """White noise has no predictable part."""
    assert RidgeVar(world.task).remarks() == fitted("ridge-var").remarks() == ()
    noise = np.random.default_rng(0).gamma(4, 2, world.train.values.shape).astype(np.float32)
    inputs = world.test.all().inputs
    blind, inputs = RidgeVar(world.task), replace(inputs, mask=np.ones_like(inputs.mask))
    train, validation = (replace(part, values=noise) for part in (world.train, world.validation))
    blind.fit(train, validation)
    assert blind.remarks() == ("at every lead, recent values explain no more than chance, so it forecasts climatology",)
    mean, _ = blind.core(inputs, *blind.anomalies(inputs))
    assert not mean.any()
