"""How long a refit trains a network, and from where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.base import Epoch, Model
from models.errors import ModelError, NotFittedError, OutOfTimeError
from models.networks.neural import NeuralModel
from tests.unit.models.conftest import World

OPTIONS = {"base": "climatology", "epochs": 12, "patience": 12, "learning_rate": 0.003, "correction": "all"}


@pytest.fixture(scope="module")
def judged(world: World, new: Callable[..., Model]) -> Any:
    model = new("dlinear", world.task, **OPTIONS)
    epochs: list[Epoch] = []
    model.fit(world.train, world.validation, progress=epochs.append)
    best = 1 + int(np.argmin([epoch.validation_loss for epoch in epochs]))
    assert 1 < best < 12
    assert model.state()["trained.epochs"] == best
    assert model.state()["trained.position"] == pytest.approx(best / 12)
    return model


@pytest.fixture
def refit(world: World, new: Callable[..., Model], judged: Any) -> Any:
    """The refitted model and the epochs that it reported."""

    def run(recipe: Any = judged, **arguments: Any) -> Any:
        model = new("dlinear", world.task, **OPTIONS)
        epochs: list[Epoch] = []
        model.refit(recipe, world.train, progress=epochs.append, **arguments)
        return model, epochs

    return run


def copy(model: Any, new: Callable[..., Model], **entries: Any) -> Any:
    """A copy with other entries of its state; None leaves an entry out."""
    twin = new("dlinear", model.task, **OPTIONS)
    changed = model.state() | {key.replace("__", "."): array for key, array in entries.items()}
    twin.load_state({key: array for key, array in changed.items() if array is not None})
    return twin


def test_a_refit_trains_as_long_as_the_judged_model(judged: Any, refit: Any) -> None:
    model, epochs = refit()
    assert len(epochs) == judged.state()["trained.epochs"]
    assert all(np.isnan(epoch.validation_loss) for epoch in epochs)
    assert model.state()["trained.epochs"] == judged.state()["trained.epochs"]


def test_a_refit_to_the_same_windows_learns_the_same_network(judged: Any, refit: Any) -> None:
    """Training, batches and schedule are those of the judged fit, which only stopped later."""
    before, after = judged.state(), refit()[0].state()
    for key in before:
        if key.startswith("network."):
            np.testing.assert_allclose(after[key], before[key], rtol=1e-4, atol=1e-5, err_msg=key)


def test_training_continues_from_former_weights_for_a_quarter_of_the_epochs(judged: Any, refit: Any) -> None:
    former, scratch = refit()
    _, warm = refit(start=former)
    assert len(warm) == max(1, round(0.25 * len(scratch))) < len(scratch)
    assert warm[0].train_loss < scratch[0].train_loss


def test_training_from_an_untrained_network_starts_anew(judged: Any, refit: Any, new: Callable[..., Model]) -> None:
    untrained = copy(judged, new, trained__epochs=np.array([0]))
    assert len(refit(start=untrained)[1]) == judged.state()["trained.epochs"]


@pytest.mark.parametrize("why", ["no epochs", "no weights"])
def test_a_network_that_judged_does_not_use_stays_untrained(
    why: str, judged: Any, refit: Any, new: Callable[..., Model], world: World
) -> None:
    zeros = np.zeros(world.task.leads, np.float32)
    entries = {
        "no epochs": {"trained__epochs": np.array([0])},
        "no weights": {"correction__weight": zeros, "without_covariates__weight": zeros},
    }
    model, epochs = refit(copy(judged, new, **entries[why]), start=judged)
    assert epochs == []
    assert model._members[0].trained.epochs == 0
    inputs = world.test.all().inputs
    np.testing.assert_allclose(model.predict(inputs), model._base.predict(inputs), rtol=1e-4, atol=1e-4)


def test_a_state_of_an_earlier_version_trains_for_all_epochs(
    judged: Any, refit: Any, new: Callable[..., Model]
) -> None:
    old = copy(judged, new, trained__epochs=None, trained__position=None)
    assert len(refit(old)[1]) == OPTIONS["epochs"]


@pytest.mark.parametrize("warm", [False, True])
def test_a_refit_that_runs_out_of_time_is_no_model(
    warm: bool, world: World, new: Callable[..., Model], judged: Any
) -> None:
    """One step of training would serve in place of the whole, and be continued the next night."""
    model, epochs = new("dlinear", world.task, **OPTIONS), list[Epoch]()
    start = judged if warm else None
    with pytest.raises(OutOfTimeError, match=r"'dlinear' ran out of time after \d+% of its planned length") as caught:
        model.refit(judged, world.train, start=start, budget_seconds=0.0, progress=epochs.append)
    assert len(epochs) == 1
    assert 0 < caught.value.completed < 1
    with pytest.raises(NotFittedError):
        model.predict(world.test.all().inputs)


def test_the_base_spends_the_same_budget(
    world: World, new: Callable[..., Model], judged: Any, refit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base takes ten seconds, by a clock that stands still otherwise, and the budget is nine."""
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    for method in ("fit", "refit"):
        real = getattr(type(judged._base), method)

        def slow(self: Any, *args: Any, real: Any = real, **kwargs: Any) -> None:
            real(self, *args, **kwargs)
            clock[0] += 10.0

        monkeypatch.setattr(type(judged._base), method, slow)
    epochs: list[Epoch] = []
    new("dlinear", world.task, **OPTIONS).fit(world.train, world.validation, budget_seconds=9, progress=epochs.append)
    assert len(epochs) == 1
    with pytest.raises(OutOfTimeError):
        refit(budget_seconds=9)


def test_another_start_is_refused(world: World, new: Callable[..., Model], judged: Any, refit: Any) -> None:
    with pytest.raises(ModelError, match="other options"):
        refit(start=new("dlinear", world.task, **OPTIONS | {"hidden": 8}))
    with pytest.raises(NotFittedError):
        refit(start=new("dlinear", world.task, **OPTIONS))


def test_the_overlap_of_validation_is_counted_as_its_issues_are_spaced(
    world: World, new: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []

    def choose(task: Any, batches: Any, origins: Any) -> Any:
        found.append(origins)
        model = new("dlinear", task)
        assert isinstance(model, NeuralModel)
        return model._correction

    monkeypatch.setattr("models.networks.neural.choose_weights", choose)
    monkeypatch.setattr("models.networks.window_batches._MAX_VALIDATION", 5)
    every_third = replace(world.validation, issues=world.validation.issues[::3][:9])
    new("dlinear", world.task).fit(world.train, every_third)
    np.testing.assert_array_equal(np.diff(found[0]), [6, 6, 6, 6])
