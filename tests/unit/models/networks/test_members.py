"""Several networks on one base, whose quantiles are averaged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.base import Epoch
from models.baselines.reference import Climatology
from models.catalogue import build
from models.checkpoint import load, save
from models.errors import DivergedError, ModelError
from models.networks import neural
from models.task import Task
from tests.unit.models.conftest import World

OPTIONS = {"base": "climatology", "epochs": 2, "learning_rate": 0.003, "correction": "all"}


def make(world: World, **options: Any) -> Any:
    return build("dlinear", world.task, hidden=4, frames=3, batch=64, **(OPTIONS | options))


@pytest.fixture(scope="module")
def three(world: World) -> Any:
    model = make(world, seeds=3)
    model.fit(world.train, world.validation, seed=5)
    return model


def diverge(monkeypatch: pytest.MonkeyPatch, function: str, *calls: int) -> None:
    """Let the calls of these numbers raise."""
    real, count = getattr(neural, function), iter(range(100))

    def train(*args: Any, **kwargs: Any) -> Any:
        if next(count) in calls:
            raise DivergedError("dlinear", epoch=1, step=2)
        return real(*args, **kwargs)

    monkeypatch.setattr(neural, function, train)


def test_the_forecast_is_the_mean_of_the_quantiles_of_networks_from_consecutive_seeds(three: Any, world: World) -> None:
    """In the working space of the wind, its square root."""
    inputs = world.test.all().inputs
    singles = []
    for number in range(3):
        single = make(world)
        single.fit(world.train, world.validation, seed=5 + number)
        singles.append(np.sqrt(single.predict(inputs)))
        for key, array in single.state().items():
            if key.startswith("network."):
                np.testing.assert_array_equal(three.state()[f"networks.{number}.{key}"], array, err_msg=key)
    assert np.abs(singles[0] - singles[1]).max() > 0.01
    np.testing.assert_allclose(np.sqrt(three.predict(inputs)), np.mean(singles, axis=0), atol=1e-4)


def test_the_base_is_fitted_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fits, real = [], Climatology.fit

    def fit(self: Climatology, *args: Any, **kwargs: Any) -> None:
        fits.append(self.name)
        real(self, *args, **kwargs)

    monkeypatch.setattr(Climatology, "fit", fit)
    make(world, seeds=2, epochs=1).fit(world.train, world.validation)
    assert fits == ["climatology"]


def test_all_networks_share_a_base_that_was_fitted_before(
    world: World, three: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = build("climatology", world.task)
    base.fit(world.train, world.validation)
    monkeypatch.setattr(Climatology, "fit", None)  # would raise
    model = make(world, seeds=3)
    model.fit(world.train, world.validation, seed=5, parts={"base": base})
    for key, array in three.state().items():
        np.testing.assert_array_equal(model.state()[key], array, err_msg=key)


def test_attention_is_the_mean_over_the_networks(world: World) -> None:
    size: dict[str, Any] = {"hidden": 8, "size": 3, "temporal": "multi-head"}
    inputs = world.test.batch(np.arange(3)).inputs
    maps = []
    for seed, seeds in ((5, 2), (5, 1), (6, 1)):
        model = build(
            "attention-convlstm", world.task, seeds=seeds, base="climatology", epochs=1, correction="all", **size
        )
        model.fit(world.train, world.validation, seed=seed)
        found = model.attention(inputs)
        assert found is not None
        assert found.frames is not None
        maps.append(found.frames)
    together, *single = maps
    np.testing.assert_allclose(together, np.mean(np.stack(single), axis=0), atol=1e-6)


def test_options_and_checkpoints_of_one_network_are_as_before_there_was_a_choice(world: World, three: Any) -> None:
    assert make(world).options() == make(world, seeds=1).options()
    assert "seeds" not in make(world).options()
    assert three.options()["seeds"] == 3
    assert not any(key.startswith("networks.") for key in fitted_one(world).state())


def fitted_one(world: World) -> Any:
    model = make(world, epochs=0)
    model.fit(world.train, world.validation)
    return model


def test_round_trip_through_a_checkpoint(three: Any, world: World, tmp_path: Path) -> None:
    digest = save(three, tmp_path / "m")
    loaded = load(tmp_path / "m", digest=digest)
    assert loaded.options() == three.options()
    inputs = world.test.all().inputs
    np.testing.assert_array_equal(loaded.predict(inputs), three.predict(inputs))
    assert three.parameters == sum(array.size for array in three.state().values())


def test_a_state_without_networks_is_refused(three: Any, world: World) -> None:
    with pytest.raises(ModelError, match="'networks' is missing"):
        make(world, seeds=3).load_state(fitted_one(world).state())
    with pytest.raises(ModelError, match="is missing"):
        make(world).load_state(three.state())


def test_a_network_that_diverges_is_left_out_with_a_remark(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    diverge(monkeypatch, "train_network", 1)
    model = make(world, seeds=3)
    with caplog.at_level(logging.WARNING):
        model.fit(world.train, world.validation)
    assert "network 2 of 3 is left out" in caplog.text
    save(model, tmp_path / "m")
    loaded: Any = load(tmp_path / "m")
    for each in (model, loaded):
        assert each.remarks()[1] == "1 of 3 networks diverged and are left out"
        assert list(each._members) == [0, 2]
    refit = make(world, seeds=3)
    refit.refit(loaded, world.train, start=model)
    assert list(refit._members) == [0, 2]
    inputs = world.test.all().inputs
    np.testing.assert_array_equal(loaded.predict(inputs), model.predict(inputs))


def test_if_every_network_diverges_there_is_no_model(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    diverge(monkeypatch, "train_network", 0, 1, 2)
    model = make(world, seeds=2)
    with pytest.raises(ModelError, match="each of its 2 networks diverged; the last: training of 'dlinear' diverged"):
        model.fit(world.train, world.validation)
    with pytest.raises(ModelError, match="not fitted"):
        model.predict(world.test.all().inputs)
    with pytest.raises(DivergedError):
        make(world).fit(world.train, world.validation)


def test_a_refit_continues_every_network_and_leaves_out_one_that_diverges(
    three: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    refit, warm = make(world, seeds=3), make(world, seeds=3)
    epochs: list[Epoch] = []
    refit.refit(three, world.train, seed=5, progress=epochs.append)
    assert len(epochs) == sum(member.trained.epochs for member in three._members.values())
    assert [epoch.epoch for epoch in epochs] == list(range(1, len(epochs) + 1))
    diverge(monkeypatch, "train_for", 0)
    warm.refit(three, world.train, start=refit, seed=5)
    assert len(warm._members) == 2
    assert all(warm._members[number].trained == three._members[number].trained for number in warm._members)


def test_networks_share_the_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands still, except that the base takes 10 of 100 seconds and the first network 20."""
    clock, shares, real = [0.0], [], vars(neural)["train_network"]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    real_fit = Climatology.fit

    def fit(self: Climatology, *args: Any, **kwargs: Any) -> None:
        real_fit(self, *args, **kwargs)
        clock[0] += 10.0

    def train(*args: Any, deadline: float, **kwargs: Any) -> Any:
        shares.append(deadline - clock[0])
        clock[0] += 20.0
        return real(*args, deadline=None, **kwargs)

    monkeypatch.setattr(Climatology, "fit", fit)
    monkeypatch.setattr(neural, "train_network", train)
    make(world, seeds=3, epochs=1).fit(world.train, world.validation, budget_seconds=100.0)
    assert shares == pytest.approx([30.0, 35.0, 50.0])


def test_at_least_one_network(world: World) -> None:
    with pytest.raises(ModelError, match="dlinear: seeds must be at least 1, found 0"):
        make(world, seeds=0)


def test_without_covariates_the_weights_are_chosen_for_the_mean_too(
    world_of: Callable[..., World], task_of: Callable[..., Task]
) -> None:
    world = world_of(task_of(covariates=("nwp",)), frames=300)
    model = make(world, seeds=2, epochs=1, correction="validation")
    model.fit(world.train, world.validation)
    inputs = world.test.all().inputs
    assert np.isfinite(model.predict(replace(inputs, covariates=None, covariates_mask=None))).all()
