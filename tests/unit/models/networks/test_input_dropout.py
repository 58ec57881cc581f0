from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from models.networks.input_dropout import InputDropout
from models.task import Inputs, Task
from tests.unit.models.conftest import World


def test_values_are_only_hidden_and_draws_follow_location_ids(world: World) -> None:
    inputs = world.test.batch(np.arange(6)).inputs
    order = np.array([2, 0, 3, 1])
    task = world.task
    moved = replace(inputs, mask=inputs.mask[..., order], values=inputs.values[..., order])
    other = replace(task, locations=tuple(task.locations[i] for i in order))
    hidden = 0
    for seed in range(20):
        one = InputDropout.of(task, 1.0)(inputs, np.random.default_rng(seed))
        two = InputDropout.of(other, 1.0)(moved, np.random.default_rng(seed))
        np.testing.assert_array_equal(one.mask[..., order], two.mask)
        assert not (one.mask & ~inputs.mask).any()
        assert not one.values[~one.mask].any()
        hidden += int((inputs.mask & ~one.mask).any())
    assert hidden == 20
    assert InputDropout.of(task, 0.0)(inputs, np.random.default_rng(0)) is inputs


def test_covariates_may_be_hidden_too(task_of: Callable[..., Task]) -> None:
    task = task_of(covariates=("nwp",))
    n, shape = 3, (3, task.leads, 1, len(task.locations))
    time = np.zeros((n, task.context), "datetime64[s]"), np.zeros((n, task.leads), "datetime64[s]")
    frames = np.ones((n, task.context, 1, len(task.locations)), np.float32)
    inputs = Inputs(frames, frames > 0, *time, np.ones(shape, np.float32), np.ones(shape, bool))
    kept = [
        InputDropout.of(task, 1.0)(inputs, np.random.default_rng(seed)).covariates is not None for seed in range(60)
    ]
    assert 15 < sum(kept) < 45
