from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from models.base import Epoch, Model
from models.catalogue import build
from models.task import Task
from tests.unit.models.conftest import World

NAME = "attention-convlstm"


def test_untrained_it_equals_its_base(world: World, new: Callable[..., Model], fitted: Callable[[str], Model]) -> None:
    model = new(NAME, world.task, epochs=0)
    model.fit(world.train, world.validation)
    inputs = world.test.all().inputs
    np.testing.assert_allclose(model.predict(inputs), fitted("ridge-var").predict(inputs), rtol=1e-6)


def test_it_learns_what_a_line_cannot(
    task_of: Callable[..., Task], world_of: Callable[..., World], new: Callable[..., Model]
) -> None:
    """A tent map: tomorrow follows from today, and yet is not correlated with it."""
    world = world_of(task_of(stations=2, leads=1), frames=1500, gaps=0.0)
    rng = np.random.default_rng(0)
    state = 0.05 * rng.normal(size=(1500, 1, 2))
    for frame in range(1, 1500):
        state[frame] = np.clip(1 - 2 * np.abs(state[frame - 1]) + state[frame], -1, 1)
    world.train.values[:] = np.square(5 + state)
    model = new(NAME, world.task, hidden=8, epochs=3, input_dropout=0.0, dropout=0.0)
    model.fit(world.train, world.validation)
    base = build("ridge-var", world.task)
    base.fit(world.train, world.validation)
    batch = world.test.all()
    errors = [np.abs(one.predict(batch.inputs)[..., 2] - batch.target).mean() for one in (model, base)]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("options", [{"temporal": "additive", "spatial": True}, {"peepholes": True, "layers": 2}])
def test_parts_can_be_switched(options: dict[str, Any], world: World, new: Callable[..., Model]) -> None:
    model = new(NAME, world.task, **options)
    model.fit(world.train, world.validation)
    assert {name: model.options()[name] for name in options} == options
    assert np.isfinite(model.predict(world.test.batch(np.arange(2)).inputs)).all()


def test_other_seeds_give_other_networks(
    world: World, new: Callable[..., Model], fitted: Callable[[str], Model]
) -> None:
    model = new(NAME, world.task)
    model.fit(world.train, world.validation, seed=1)
    weights = [key for key in model.state() if key.startswith("network.trunk.") and key.endswith("gates.weight")]
    assert len(weights) == 2
    assert all((model.state()[key] != fitted(NAME).state()[key]).any() for key in weights)


def test_callers_torch_generator_is_left_alone(world: World, new: Callable[..., Model]) -> None:
    before = torch.random.get_rng_state()
    new(NAME, world.task).fit(world.train, world.validation, seed=3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_spent_budget_stops_after_one_step(world: World, new: Callable[..., Model]) -> None:
    epochs: list[Epoch] = []
    model = new(NAME, world.task, epochs=50)
    model.fit(world.train, world.validation, budget_seconds=0.0, progress=epochs.append)
    assert len(epochs) == 1
    assert np.isfinite(model.predict(world.test.batch(np.arange(2)).inputs)).all()


def test_many_locations_fall_back_to_the_damped_base(task_of: Callable[..., Task]) -> None:
    assert build(NAME, task_of(stations=800)).options()["base"] == "auto"
