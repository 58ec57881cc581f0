from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base import Epoch, Model
from models.baselines.reference import DampedAnomaly, Persistence
from models.blend import Blend
from models.catalogue import build
from models.checkpoint import load, save
from models.errors import ModelError
from models.statistics.mixing import best_spread, best_weights, widen
from models.task import Task
from tests.unit.models.conftest import World

PLAIN = "climatology, damped-anomaly, ridge-var"
LEVELS = (0.25, 0.5, 0.75)


@pytest.fixture(scope="module")
def blend(world: World) -> Any:
    model = build("blend", world.task, members=PLAIN)
    model.fit(world.train, world.validation)
    return model


def forecasts_of(*medians: Any) -> Any:
    """Forecasts (member, n, lead, target, location, quantile) from medians (n,) and a width of 1."""
    middle = np.stack([np.asarray(one, np.float32) for one in medians])
    return (middle[..., None] + np.array([-0.5, 0.0, 0.5], np.float32))[:, :, None, None, None]


def column(values: Any) -> Any:
    return np.asarray(values, np.float32)[:, None, None, None]


def test_equal_weights_without_validation_give_the_mean_of_each_level(world: World) -> None:
    none = replace(world.validation, issues=world.validation.issues[:0])
    blend = build("blend", world.task, members=["climatology", "damped-anomaly"], weights="equal")
    blend.fit(world.train, none)
    inputs, alone = world.test.all().inputs, []
    for name in ("climatology", "damped-anomaly"):
        model = build(name, world.task)
        model.fit(world.train, none)
        alone.append(model.predict(inputs))
    np.testing.assert_allclose(blend.predict(inputs), (alone[0] + alone[1]) / 2, rtol=1e-5)
    assert isinstance(blend, Blend)
    assert blend.weights == {"climatology": (0.5, 0.5, 0.5), "damped-anomaly": (0.5, 0.5, 0.5)}


def test_members_with_opposite_errors_get_equal_weights() -> None:
    truth = np.linspace(0, 9, 40)
    weights = best_weights(forecasts_of(truth + 1, truth - 1), LEVELS, column(truth), np.ones((40, 1, 1, 1), bool))
    np.testing.assert_allclose(weights[:, 0], [0.5, 0.5], atol=1e-6)


def test_a_perfect_member_gets_nearly_all_weight_and_no_truth_gives_equal_weights() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    forecasts, known = forecasts_of(truth, *(3 * rng.normal(size=(2, 400)))), np.ones((400, 1, 1, 1), bool)
    assert best_weights(forecasts, LEVELS, column(truth), known)[0, 0] > 0.9
    np.testing.assert_allclose(best_weights(forecasts, LEVELS, column(truth), ~known), 1 / 3)


def test_weights_follow_the_lead() -> None:
    truth = np.linspace(0, 9, 40)
    one, two = forecasts_of(truth, truth + 4), forecasts_of(truth + 4, truth)
    weights = best_weights(
        np.concatenate([one, two], axis=2),
        LEVELS,
        np.repeat(column(truth), 2, axis=1),
        np.ones((40, 2, 1, 1), bool),
    )
    assert weights[0, 0] > 0.95
    assert weights[1, 1] > 0.95


@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_weights_lie_on_the_simplex_and_beat_equal_weights(seed: int, members: Any) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=30)
    forecasts = forecasts_of(*(truth * rng.uniform(-1, 1) + rng.normal(size=30) for _ in range(members)))
    known = np.ones((30, 1, 1, 1), bool)
    weights = best_weights(forecasts, LEVELS, column(truth), known)[:, 0]
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-5)

    def loss(quantiles: Any) -> Any:
        error = column(truth)[..., None] - quantiles
        return np.maximum(np.array(LEVELS) * error, (np.array(LEVELS) - 1) * error).mean()

    mean = np.tensordot(weights, forecasts, axes=1)
    assert loss(mean) <= loss(forecasts.mean(0)) + 1e-6


def test_spread_is_the_ratio_of_true_width_to_forecast_width() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4000).astype(np.float32)
    # Quartiles of a standard normal lie at +-0.674.
    narrow = np.broadcast_to(np.array([-0.674, 0.0, 0.674], np.float32) / 1.5, (4000, 1, 1, 1, 3))
    spread = best_spread(narrow, LEVELS, column(truth), np.ones((4000, 1, 1, 1), bool))
    assert spread == pytest.approx(1.5, abs=0.1)
    np.testing.assert_allclose(widen(narrow, 1.5, 1)[0, 0, 0, 0], [-0.674, 0.0, 0.674], rtol=1e-6)


def test_coverage_is_near_nominal(task_of: Callable[..., Task], world_of: Callable[..., World]) -> None:
    world = world_of(task_of(), frames=1500)
    blend = build("blend", world.task, members=PLAIN)
    blend.fit(world.train, world.validation)
    batch = world.test.all()
    quantiles = blend.predict(batch.inputs)
    inside = (batch.target >= quantiles[..., 0]) & (batch.target <= quantiles[..., -1])
    assert inside[batch.target_mask].mean() == pytest.approx(0.8, abs=0.05)


def test_blend_is_better_than_the_mean_member(world: World, blend: Any) -> None:
    batch = world.test.all()

    def error(model: Any) -> Any:
        median = model.predict(batch.inputs)[..., 2]
        return np.abs(median - batch.target)[batch.target_mask].mean()

    alone = []
    for name in ("climatology", "damped-anomaly", "ridge-var"):
        model = build(name, world.task)
        model.fit(world.train, world.validation)
        alone.append(error(model))
    assert error(blend) < np.mean(alone)


def test_options_are_json_and_reach_the_member(world: World) -> None:
    blend = build("blend", world.task, **{"members": "ridge-var,damped-anomaly", "ridge-var.lags": 2})
    options = json.loads(json.dumps(blend.options()))
    assert options["members"] == ["ridge-var", "damped-anomaly"]
    assert options["ridge-var.lags"] == 2
    assert build("blend", world.task, **options).options() == options


def test_a_saved_blend_gives_bit_equal_forecasts(world: World, blend: Any, tmp_path: Path) -> None:
    save(blend, tmp_path / "blend")
    inputs = world.test.all().inputs
    np.testing.assert_array_equal(load(tmp_path / "blend").predict(inputs), blend.predict(inputs))


def test_a_member_that_fails_is_left_out_with_a_warning(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def fail(self: DampedAnomaly, *args: Any, **kwargs: Any) -> None:
        raise ModelError("no luck")

    monkeypatch.setattr(DampedAnomaly, "fit", fail)
    blend = build("blend", world.task, members=PLAIN)
    with caplog.at_level(logging.WARNING, "models.blend"):
        blend.fit(world.train, world.validation)
    assert [record.getMessage() for record in caplog.records] == ["blend: leaving out damped-anomaly: no luck"]
    assert isinstance(blend, Blend)
    assert blend.weights["damped-anomaly"] == (0.0, 0.0, 0.0)
    assert sum(weights[0] for weights in blend.weights.values()) == pytest.approx(1)
    save(blend, tmp_path / "blend")
    inputs = world.test.all().inputs
    np.testing.assert_array_equal(load(tmp_path / "blend").predict(inputs), blend.predict(inputs))


def test_one_remaining_member_is_too_few(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: DampedAnomaly, *args: Any, **kwargs: Any) -> None:
        raise ModelError("no luck")

    monkeypatch.setattr(DampedAnomaly, "fit", fail)
    blend = build("blend", world.task, members="climatology, damped-anomaly")
    with pytest.raises(ModelError, match="at least two members are needed, fitted climatology"):
        blend.fit(world.train, world.validation)


def test_networks_share_the_remaining_budget_and_epochs_are_counted_together(
    world: World, monkeypatch: pytest.MonkeyPatch, new: Callable[..., Model]
) -> None:
    budgets = []
    real = Persistence.fit

    def note(self: Persistence, *args: Any, budget_seconds: Any, **kwargs: Any) -> None:
        budgets.append(budget_seconds)
        real(self, *args, budget_seconds=budget_seconds, **kwargs)

    monkeypatch.setattr(Persistence, "fit", note)
    small = {f"{name}.{key}": value for name in ("lstm", "gru") for key, value in _small().items()}
    blend = build("blend", world.task, members="lstm, persistence, gru", **small)
    epochs: list[Epoch] = []
    blend.fit(world.train, world.validation, budget_seconds=300.0, progress=epochs.append)
    assert len(budgets) == 1
    assert 0 < budgets[0] <= 100
    assert [epoch.epoch for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert epochs[-1].epoch == epochs[-1].epochs


def _small() -> Any:
    return {"hidden": 4, "frames": 3, "epochs": 1, "batch": 64, "base": "damped-anomaly"}


def test_attention_convlstm_is_a_default_member(task_of: Callable[..., Task]) -> None:
    assert build("blend", task_of()).options()["members"][0] == "attention-convlstm"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": "climatology"}, "two or more"),
        ({"members": ["climatology", "climatology"]}, "different"),
        ({"members": "climatology, blend"}, "'blend' cannot be a member"),
        ({"members": "climatology, nonsense"}, "'nonsense' cannot be a member"),
        ({"members": PLAIN, "weights": "best"}, "weights must be one of"),
        ({"members": PLAIN, "lstm.hidden": 4}, "unknown option 'lstm.hidden'"),
        ({"members": PLAIN, "hidden": 4}, "unknown option 'hidden'"),
        ({"members": PLAIN, "ridge-var.hidden": 4}, "ridge-var"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], message: str, world: World) -> None:
    with pytest.raises(ModelError, match=message):
        build("blend", world.task, **options)
