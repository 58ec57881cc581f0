from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.build import build
from models.errors import DivergedError, ModelError
from models.networks.outage import Outages
from models.networks.trainer import Recipe, train
from models.statistics.calibration import choose_share, half_trusted, widening

NAME = "attention-convlstm"


def test_untrained_it_equals_its_base(world, new, fitted):
    model = new(NAME, world.task, epochs=0)
    model.fit(world.train, world.validation)
    inputs = world.test.all().inputs
    np.testing.assert_allclose(model.predict(inputs), fitted("ridge-var").predict(inputs), rtol=1e-6)


def test_it_learns_what_a_line_cannot(task_of, world_of, new):
    """A tent map: tomorrow follows from today, and yet is not correlated with it."""
    world = world_of(task_of(stations=2, leads=1), frames=1500, gaps=0.0)
    rng = np.random.default_rng(0)
    state = 0.05 * rng.normal(size=(1500, 1, 2))
    for frame in range(1, 1500):
        state[frame] = np.clip(1 - 2 * np.abs(state[frame - 1]) + state[frame], -1, 1)
    world.train.values[:] = np.square(5 + state)
    model = new(NAME, world.task, hidden=8, epochs=3, outage=0.0, dropout=0.0)
    model.fit(world.train, world.validation)
    base = build("ridge-var", world.task)
    base.fit(world.train, world.validation)
    batch = world.test.all()
    errors = [np.abs(one.predict(batch.inputs)[..., 2] - batch.target).mean() for one in (model, base)]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("options", [{"temporal": "additive", "spatial": True}, {"peepholes": True, "layers": 2}])
def test_parts_can_be_switched(options, world, new):
    model = new(NAME, world.task, **options)
    model.fit(world.train, world.validation)
    assert {name: model.options()[name] for name in options} == options
    assert np.isfinite(model.predict(world.test.batch(np.arange(2)).inputs)).all()


def test_other_seeds_give_other_networks(world, new, fitted):
    model = new(NAME, world.task)
    model.fit(world.train, world.validation, seed=1)
    key = "network.encoder.cells.0.gates.weight"
    assert (model.state()[key] != fitted(NAME).state()[key]).any()


def test_callers_torch_generator_is_left_alone(world, new):
    before = torch.random.get_rng_state()
    new(NAME, world.task).fit(world.train, world.validation, seed=3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_spent_budget_stops_after_one_step(world, new):
    told = []
    model = new(NAME, world.task, epochs=50)
    model.fit(world.train, world.validation, budget_seconds=0.0, progress=told.append)
    assert len(told) == 1
    assert np.isfinite(model.predict(world.test.batch(np.arange(2)).inputs)).all()


def test_many_locations_fall_back_to_the_damped_base(task_of):
    assert build(NAME, task_of(stations=800)).options()["base"] == "auto"


def test_a_share_is_taken_only_beyond_chance():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 1))
    sure = np.stack([np.ones((400, 1)), 0.9 + 0.1 * noise, 0.8 + 0.1 * noise])
    assert choose_share(sure, (0.0, 0.5, 1.0)) == [1.0]
    doubtful = np.stack([np.ones((400, 1)), 0.99 + noise - noise.mean(), 2 + noise])
    assert choose_share(doubtful, (0.0, 0.5, 1.0)) == [0.0]


def test_widening_is_half_trusted_and_never_narrows():
    assert half_trusted(0.5) == 1.0
    assert half_trusted(2.25) == 1.5
    seen, unseen = np.array([1, -1, np.nan], np.float32), np.array([4, -4], np.float32)
    assert widening(seen, unseen) == 2.0
    assert widening(seen, np.full(3, np.nan, np.float32)) == 1.0


def losses(value):
    return lambda: [lambda network: (network.weight.sum() * 0 + value, torch.tensor(1))]


def test_a_loss_that_is_not_a_number_stops_training():
    network = torch.nn.Linear(1, 1)
    with pytest.raises(DivergedError, match=r"'net'.*epoch 1, step 0"):
        train(
            network,
            losses(float("nan")),
            losses(1.0),
            steps=1,
            recipe=Recipe(),
            name="net",
            deadline=None,
            progress=lambda epoch: None,
        )


def test_weights_that_validate_best_are_kept():
    """Training pulls the weight to 5, validation wants 1: the best average lies on the way."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    told = []
    best = train(
        network,
        lambda: [lambda net: ((net.weight - 5).square().sum(), torch.tensor(1))] * 10,
        lambda: [lambda net: ((net.weight - 1).square().sum(), torch.tensor(1))],
        steps=10,
        recipe=Recipe(epochs=30, patience=3, learning_rate=0.1, average=0.5, weight_decay=0.0),
        name="net",
        deadline=None,
        progress=told.append,
    )
    assert best == pytest.approx(min(epoch.validation_loss for epoch in told))
    assert float((network.weight.detach() - 1).square()) == pytest.approx(best, abs=1e-6)
    assert len(told) < 30


@pytest.mark.parametrize("field", ["epochs", "patience", "batch", "weight_decay", "warmup", "clip", "outage"])
def test_recipes_out_of_range_name_the_field(field):
    with pytest.raises(ModelError, match=field):
        Recipe(**{field: -1})


def test_outages_hide_but_never_reveal_and_follow_the_ids(world):
    inputs = world.test.batch(np.arange(6)).inputs
    order = np.array([2, 0, 3, 1])
    task = world.task
    moved = replace(inputs, mask=inputs.mask[..., order], values=inputs.values[..., order])
    other = replace(task, locations=tuple(task.locations[i] for i in order))
    hidden = 0
    for seed in range(20):
        one = Outages.of(task, 1.0)(inputs, np.random.default_rng(seed))
        two = Outages.of(other, 1.0)(moved, np.random.default_rng(seed))
        np.testing.assert_array_equal(one.mask[..., order], two.mask)
        assert not (one.mask & ~inputs.mask).any()
        assert not one.values[~one.mask].any()
        hidden += int((inputs.mask & ~one.mask).any())
    assert hidden == 20
    assert Outages.of(task, 0.0)(inputs, np.random.default_rng(0)) is inputs
