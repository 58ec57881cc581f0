from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from models.catalogue import build
from models.statistics.covariates import Covariates
from models.task import Task
from tests.records import Record
from tests.unit.models.conftest import World

OPTIONS = {"hidden": 8, "size": 3, "frames": 3, "epochs": 6, "learning_rate": 0.01, "batch": 32, "dropout": 0.0}


@dataclass(frozen=True)
class Told(Record):
    """A record whose future is known in advance, with noise."""

    noise: float = 0.1

    def batch(self, index: Any) -> Any:
        batch = super().batch(index)
        rng = np.random.default_rng(int(index.sum()) if len(index) else 0)
        mask = rng.random(batch.target.shape) > 0.1
        values = 10 * batch.target + 10 * self.noise * rng.normal(size=batch.target.shape)
        covariates = np.where(mask & batch.target_mask, values, 0).astype(np.float32)
        return replace(
            batch, inputs=replace(batch.inputs, covariates=covariates, covariates_mask=mask & batch.target_mask)
        )


@pytest.fixture(scope="module")
def records(world_of: Callable[..., World], task_of: Callable[..., Task]) -> Any:
    task = task_of(covariates=("nwp.wind",))
    world = world_of(task, frames=700)
    return [
        Told(task, part.time, part.values, part.mask, part.issues)
        for part in (world.train, world.validation, world.test)
    ]


@pytest.fixture(scope="module")
def model(records: Any) -> Any:
    train, validation, _ = records
    found = build("attention-convlstm", train.task, **OPTIONS)
    found.fit(train, validation)
    return found


def error(model: Any, test: Any, **changes: Any) -> Any:
    batch = test.all()
    median = model.predict(replace(batch.inputs, **changes))[..., 2]
    return np.abs(median - batch.target)[batch.target_mask].mean()


def test_covariates_improve_the_forecast(records: Any, model: Any) -> None:
    _, _, test = records
    assert error(model, test) < 0.6 * error(model, test, covariates=None, covariates_mask=None)


def test_without_covariates_the_forecast_is_as_good_as_its_base(records: Any, model: Any) -> None:
    train, validation, test = records
    base = build("ridge-var", train.task)
    base.fit(train, validation)
    assert error(model, test, covariates=None, covariates_mask=None) < 1.05 * error(base, test)


def test_the_state_of_covariates_is_restored(records: Any, model: Any) -> None:
    _, _, test = records
    twin = build("attention-convlstm", test.task, **model.options())
    twin.load_state(model.state())
    inputs = test.all().inputs
    np.testing.assert_array_equal(twin.predict(inputs), model.predict(inputs))


def test_covariates_become_anomalies_of_their_own_climate(records: Any) -> None:
    train, _, _ = records
    covariates = Covariates(train.task)
    covariates.fit(train)
    values, mask = covariates(train.all().inputs)
    known = values[mask]
    assert abs(known.mean()) < 0.1
    assert 0.8 < known.std() < 1.2
    assert not values[~mask].any()


def test_values_that_are_no_numbers_count_as_missing(records: Any) -> None:
    train, _, _ = records
    covariates = Covariates(train.task)
    covariates.fit(train)
    inputs = train.batch(np.arange(3)).inputs
    broken = replace(inputs, covariates=np.full_like(inputs.covariates, np.nan))
    values, mask = covariates(broken)
    assert not mask.any()
    assert not values.any()
