"""A refit: what only unseen data can tell comes from the judged model, and everything else from all data."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.base import Epoch, Model
from models.blend import Blend
from models.catalogue import MODELS, build
from models.errors import ModelError, NotFittedError
from models.networks.neural import NeuralModel
from models.task import Task
from tests.records import Record
from tests.unit.models.conftest import World
from tests.unit.models.test_every_model import sound

CALIBRATION = re.compile(
    r"(.*\.)?(dressing\.(offsets|sizes|by_size)|climate\.basis|(correction|without_covariates)\.(weight|spread)|trained\.\w+)|weights|spread"
)
every_model = pytest.mark.parametrize("name", list(MODELS))


@pytest.fixture(scope="session")
def everything(world: World) -> Any:
    """All windows of the world, half of which no judged model saw in training."""
    return replace(world.train, issues=np.arange(world.train.issues[0], world.test.issues[-1] + 1))


@pytest.fixture(scope="session")
def none(world: World) -> Any:
    return replace(world.validation, issues=world.validation.issues[:0])


@every_model
def test_calibration_is_that_of_judged_and_the_rest_is_fitted_anew(
    name: str, world: World, everything: Record, perturbed: Callable[[str], Model], new: Callable[..., Model]
) -> None:
    judged, model = perturbed(name), new(name, world.task)
    epochs: list[Epoch] = []
    model.refit(judged, everything, budget_seconds=600.0, progress=epochs.append)
    assert [epoch.epoch for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert np.isfinite(epochs[-1].train_loss)
    before, after = judged.state(), model.state()
    kept = [key for key in before if CALIBRATION.fullmatch(key)]
    assert kept
    for key in kept:
        np.testing.assert_array_equal(after[key], before[key], err_msg=key)
    climates = [key for key in before if key.endswith("climate.mean")]
    assert climates
    assert not any(np.array_equal(after[key], before[key]) for key in climates)
    inputs = world.test.all().inputs
    quantiles = model.predict(inputs)
    sound(world.task, quantiles, len(inputs))
    twin = new(name, world.task)
    twin.load_state(after)
    np.testing.assert_array_equal(twin.predict(inputs), quantiles)


@every_model
def test_a_refit_to_the_windows_that_judged_saw_is_close_to_judged(
    name: str, world: World, none: Record, new: Callable[..., Model]
) -> None:
    network = issubclass(MODELS[name].load(), NeuralModel)
    options = {"correction": "all"} if network else {}
    judged, model = new(name, world.task, **options), new(name, world.task, **options)
    judged.fit(world.train, none)
    model.refit(judged, world.train)
    inputs = world.test.all().inputs
    one, two = judged.predict(inputs), model.predict(inputs)
    sound(world.task, two, len(inputs))
    # A judged network did not learn from the last tenth of the windows, on which it was validated.
    np.testing.assert_allclose(two, one, rtol=0.2 if network else 1e-5, atol=0.5 if network else 1e-5)


@every_model
def test_another_model_and_other_windows_are_refused(
    name: str,
    world: World,
    none: Record,
    fitted: Callable[[str], Model],
    new: Callable[..., Model],
    task_of: Callable[..., Task],
) -> None:
    with pytest.raises(ModelError, match=f"cannot refit {name}"):
        new("climatology" if name != "climatology" else "persistence", world.task).refit(fitted(name), world.train)
    with pytest.raises(ModelError, match="cannot refit a model of another task"):
        new(name, task_of(stations=5)).refit(fitted(name), world.train)
    with pytest.raises(NotFittedError, match=name):
        new(name, world.task).refit(new(name, world.task), world.train)
    with pytest.raises(ModelError, match="no training windows"):
        new(name, world.task).refit(fitted(name), none)
    with pytest.raises(ModelError, match="another task"):
        new(name, world.task).refit(fitted(name), replace(world.train, task=task_of(stations=5)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ridge-var", {"lags": 2}),
        ("gradient-boosting", {"rounds": 31}),
        ("dlinear", {"hidden": 8}),
        ("blend", {"weights": "equal"}),
    ],
)
def test_other_options_are_refused(
    name: str, options: dict[str, Any], world: World, fitted: Callable[[str], Model], new: Callable[..., Model]
) -> None:
    with pytest.raises(ModelError, match="other options"):
        new(name, world.task, **options).refit(fitted(name), world.train)


CHOICES: dict[str, dict[str, Any]] = {
    "seasonal-naive": {"season": np.array([2]), "drift": np.ones((4, 1, 4), np.float32)},
    "ridge-var": {"settings": np.array([0.4, 3.0, 1.0, 1.0])},
    "pooled-convolution": {"choice": np.array([2, 2, 0, 0.1])[:, None].repeat(3, axis=1)},
    "linear-inverse": {
        "maps": np.eye(2, 4, dtype=np.float32),
        "variance": np.ones(2, np.float32),
        "steps": np.zeros((2, 2, 2), np.float32),
        "ridge": np.array([0.03]),
    },
}
"""Entries of a state that contain the choices of a model, changed to ones that the world would not choose."""


@pytest.mark.parametrize("name", list(CHOICES))
def test_choices_are_those_of_judged(
    name: str, world: World, everything: Record, fitted: Callable[[str], Model], new: Callable[..., Model]
) -> None:
    changed = {f"core.{key}": array for key, array in CHOICES[name].items()}
    judged, model = new(name, world.task), new(name, world.task)
    judged.load_state(fitted(name).state() | changed)
    model.refit(judged, everything)
    state = model.state()
    match name:
        case "ridge-var":
            np.testing.assert_array_equal(state["core.settings"][:2], [0.4, 3.0])
        case "linear-inverse":
            assert state["core.steps"].shape == (2, 2, 2)
            assert state["core.ridge"] == 0.03
        case "pooled-convolution":
            np.testing.assert_array_equal(state["core.choice"], changed["core.choice"])
        case _:
            assert state["core.season"] == 2


def test_the_number_of_trees_is_that_of_judged(
    world: World, everything: Record, fitted: Callable[[str], Model], new: Callable[..., Model]
) -> None:
    judged: Any = fitted("gradient-boosting")
    model: Any = new("gradient-boosting", world.task)
    model.refit(judged, everything)
    counts = {key: trees.count for key, trees in judged._trees.items()}
    assert {key: trees.count for key, trees in model._trees.items()} == counts
    assert min(counts.values()) > 0


@pytest.mark.parametrize(("name", "entry"), [("linear-inverse", "core.ridge"), ("pooled-convolution", "core.choice")])
def test_a_state_of_an_earlier_version_without_choices_loads(
    name: str, entry: str, world: World, everything: Record, fitted: Callable[[str], Model], new: Callable[..., Model]
) -> None:
    state, judged, model = fitted(name).state(), new(name, world.task), new(name, world.task)
    del state[entry]
    judged.load_state(state)
    inputs = world.test.all().inputs
    np.testing.assert_array_equal(judged.predict(inputs), fitted(name).predict(inputs))
    model.refit(judged, everything)
    sound(world.task, model.predict(inputs), len(inputs))


def test_a_rolling_climatology_is_refitted_to_the_last_years(world: World, everything: Record) -> None:
    judged, model = (build("rolling-climatology", world.task, years=0.2) for _ in range(2))
    judged.fit(world.train, world.validation)
    model.refit(judged, everything)
    # 73 days of frames and the six of the first context.
    changed = replace(everything, values=everything.values.copy())
    changed.values[: everything.issues[-1] - 80] = 50.0
    same = build("rolling-climatology", world.task, years=0.2)
    same.refit(judged, changed)
    inputs = world.test.batch(np.arange(3)).inputs
    np.testing.assert_array_equal(same.predict(inputs), model.predict(inputs))


def test_a_member_that_was_left_out_is_not_refitted(world: World, everything: Record) -> None:
    options = {"members": "climatology, damped-anomaly, persistence"}
    judged, model = (build("blend", world.task, **options) for _ in range(2))
    judged.fit(world.train, world.validation)
    state = judged.state()
    state["weights"][2] = 0.0
    judged.load_state({key: array for key, array in state.items() if not key.startswith("persistence.")})
    model.refit(judged, everything)
    assert not any(key.startswith("persistence.") for key in model.state())
    assert isinstance(model, Blend)
    assert isinstance(judged, Blend)
    assert model.weights == judged.weights


def test_baselines_ignore_the_start(
    world: World, everything: Record, fitted: Callable[[str], Model], new: Callable[..., Model]
) -> None:
    one, two = new("ridge-var", world.task), new("ridge-var", world.task)
    one.refit(fitted("ridge-var"), everything)
    two.refit(fitted("ridge-var"), everything, start=fitted("ridge-var"), seed=3)
    for key, array in one.state().items():
        np.testing.assert_array_equal(two.state()[key], array, err_msg=key)
