from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from models.catalogue import build
from models.statistics.covariates import Covariates
from tests.records import Record

OPTIONS = {"hidden": 8, "size": 3, "frames": 3, "epochs": 6, "learning_rate": 0.01, "batch": 32, "dropout": 0.0}


@dataclass(frozen=True)
class Told(Record):
    """A record whose future had been said, but for some noise."""

    noise: float = 0.1

    def batch(self, index):
        batch = super().batch(index)
        rng = np.random.default_rng(int(index.sum()) if len(index) else 0)
        said = rng.random(batch.target.shape) > 0.1
        values = 10 * batch.target + 10 * self.noise * rng.normal(size=batch.target.shape)
        told = np.where(said & batch.target_mask, values, 0).astype(np.float32)
        return replace(batch, inputs=replace(batch.inputs, covariates=told, covariates_mask=said & batch.target_mask))


@pytest.fixture(scope="module")
def told(world_of, task_of):
    task = task_of(covariates=("nwp.wind",))
    world = world_of(task, frames=700)
    return [
        Told(task, part.time, part.values, part.mask, part.issues)
        for part in (world.train, world.validation, world.test)
    ]


@pytest.fixture(scope="module")
def model(told):
    train, validation, _ = told
    found = build("attention-convlstm", train.task, **OPTIONS)
    found.fit(train, validation)
    return found


def error(model, test, **changes):
    batch = test.all()
    median = model.predict(replace(batch.inputs, **changes))[..., 2]
    return np.abs(median - batch.target)[batch.target_mask].mean()


def test_what_was_said_ahead_makes_the_forecast_better(told, model):
    _, _, test = told
    assert error(model, test) < 0.6 * error(model, test, covariates=None, covariates_mask=None)


def test_without_it_the_forecast_goes_on_as_good_as_its_base(told, model):
    train, validation, test = told
    base = build("ridge-var", train.task)
    base.fit(train, validation)
    assert error(model, test, covariates=None, covariates_mask=None) < 1.05 * error(base, test)


def test_a_twin_reads_the_state_of_the_covariates(told, model):
    _, _, test = told
    twin = build("attention-convlstm", test.task, **model.options())
    twin.load_state(model.state())
    inputs = test.all().inputs
    np.testing.assert_array_equal(twin.predict(inputs), model.predict(inputs))


def test_covariates_become_anomalies_of_their_own_climate(told):
    train, _, _ = told
    covariates = Covariates(train.task)
    covariates.fit(train)
    values, said = covariates(train.all().inputs)
    known = values[said]
    assert abs(known.mean()) < 0.1
    assert 0.8 < known.std() < 1.2
    assert not values[~said].any()


def test_values_that_are_no_numbers_count_as_unsaid(told):
    train, _, _ = told
    covariates = Covariates(train.task)
    covariates.fit(train)
    inputs = train.batch(np.arange(3)).inputs
    broken = replace(inputs, covariates=np.full_like(inputs.covariates, np.nan))
    values, said = covariates(broken)
    assert not said.any()
    assert not values.any()
