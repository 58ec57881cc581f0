from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.base import Model
from models.catalogue import MODELS, build
from models.networks.correction import CorrectionWeights
from models.networks.neural import NeuralModel
from models.networks.schedule import Schedule
from models.task import Task
from tests.unit.models.conftest import World

NETWORKS = [name for name, entry in MODELS.items() if issubclass(entry.load(), NeuralModel)]


@pytest.mark.parametrize("name", NETWORKS)
def test_network_weights_change_the_forecast(
    name: str, world: World, perturbed: Callable[[str], Model], fitted: Callable[[str], Model]
) -> None:
    inputs = world.test.batch(np.arange(5)).inputs
    assert np.abs(perturbed(name).predict(inputs) - fitted(name).predict(inputs)).max() > 0.05


def test_a_busy_machine_does_not_change_the_model(
    world: World, new: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine stalls for 40 of 100 seconds after the first of three epochs."""
    models = [new("dlinear", world.task, epochs=3, patience=3) for _ in range(2)]
    models[0].fit(world.train, world.validation)
    passed, real = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() / 1000 + passed[0])

    def stall(epoch: Any) -> None:
        passed[0] = 40.0

    models[1].fit(world.train, world.validation, budget_seconds=100, progress=stall)
    states = [model.state() for model in models]
    assert all(np.array_equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(("now", "position"), [(20.0, 0.3), (39.0, 0.3), (41.0, 0.41), (90.0, 0.9)])
def test_the_schedule_follows_time_only_when_far_ahead_of_steps(
    monkeypatch: pytest.MonkeyPatch, now: Any, position: Any
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert Schedule(0.0, 100.0, 10, 1.0).position(3) == pytest.approx(position)


def test_where_time_was_short_the_schedule_of_a_refit_ends_where_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Schedule(0.0, 100.0, 10, 0.6)
    monkeypatch.setattr(time, "monotonic", lambda: 20.0)
    assert schedule.position(3) == pytest.approx(0.18)
    assert schedule.position(10) == pytest.approx(0.6)
    monkeypatch.setattr(time, "monotonic", lambda: 120.0)
    assert schedule.position(3) == pytest.approx(0.6)


def test_correction_all_uses_the_whole_correction(world: World, new: Callable[..., Model]) -> None:
    model = new("dlinear", world.task, correction="all")
    model.fit(world.train, world.validation)
    assert model.remarks() == ("weight of the correction of damped-anomaly: 100 % (lead 1-3)",)


def test_remarks_give_the_weight_of_the_correction_by_lead(
    new: Callable[..., Model], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = new("dlinear", world.task, correction="all")
    assert isinstance(model, NeuralModel)
    model.fit(world.train, world.validation)
    (line,) = model.remarks()
    assert line.startswith("weight of the correction of damped-anomaly: ")
    none = replace(model._correction, weight=np.zeros(3, np.float32))
    monkeypatch.setattr(model, "_correction", none)
    monkeypatch.setattr(model, "_without_covariates", none)
    assert model.remarks() == (
        "the network adds nothing to damped-anomaly: on validation its correction gains nothing",
    )
    weights = CorrectionWeights(np.array([0.5, 0.25, 0.25, 0], np.float32), 1.0, 2)
    assert weights.describe() == "50 % (lead 1), 25 % (2-3), 0 % (4)"
    assert replace(weights, weight=np.zeros(3, np.float32)).describe() == "0 % (lead 1-3)"


def test_loss_weights_follow_spread_or_area(world: World, task_of: Callable[..., Task]) -> None:
    batch = world.train.batch(np.arange(4))
    weights = {}
    for kind in ("none", "spread", "area"):
        model = build("dlinear", world.task, base="climatology", epochs=0, weights=kind)
        assert isinstance(model, NeuralModel)
        model.fit(world.train, world.validation)
        weights[kind] = np.broadcast_to(model._builder.weight(batch.inputs).numpy(), batch.target.shape)
    assert (weights["none"] == 1).all()
    expected = np.cos(np.radians(world.task.latitude))
    np.testing.assert_allclose(weights["area"][0, 0, 0], expected / expected.mean(), rtol=1e-5)
    assert weights["spread"].std() > 0
