"""The attention weights that a model returns on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models.base import Model
from models.catalogue import build
from models.errors import ModelError, NotFittedError
from models.layers.attention import Attention
from models.layers.spatial_memory import SpatialMemory
from models.networks.neural import NeuralModel
from models.task import Task
from tests.unit.models.conftest import QUICK, World, make_task, make_world, perturb

SMALL: dict[str, Any] = QUICK | {"base": "damped-anomaly", "correction": "all"}
OVER_TIME: dict[str, dict[str, Any]] = {
    "attention-lstm": {},
    "attention-gru": {"attention": "additive"},
    "attention-cnn": {"size": 3},
    "attention-convlstm": {"size": 3, "temporal": "dot"},
}


def _fitted(name: str, world: World, **options: Any) -> Model:
    model = build(name, world.task, **(SMALL | options))
    model.fit(world.train, world.validation)
    perturb(model)
    return model


@pytest.fixture(scope="module")
def grid() -> World:
    return make_world(make_task(12, grid=(3, 4)), frames=200)


@pytest.fixture(scope="module")
def few() -> World:
    return make_world(make_task(), frames=200)


@pytest.mark.parametrize("name", OVER_TIME)
def test_the_weights_of_frames_sum_to_one_at_each_lead(name: str, few: World) -> None:
    model, inputs = _fitted(name, few, **OVER_TIME[name]), few.test.all().inputs
    before = model.predict(inputs)
    found = model.attention(inputs)
    assert found is not None and found.frames is not None
    assert found.frames.shape == (3, 6)
    np.testing.assert_allclose(found.frames.sum(axis=1), 1, rtol=1e-4)
    assert (found.frames[:, :3] == 0).all()  # the network reads three of six frames
    assert (found.frames[:, 3:] > 0).all()
    np.testing.assert_array_equal(model.predict(inputs), before)


@pytest.mark.parametrize(("name", "options"), [("attention-cnn", {}), ("attention-convlstm", {"spatial": True})])
@pytest.mark.parametrize("place", ["few", "grid"])
@pytest.mark.parametrize("patch", [1, 2])
def test_the_weights_of_locations_sum_to_one(
    name: str, options: dict[str, Any], place: str, patch: int, request: pytest.FixtureRequest
) -> None:
    world = request.getfixturevalue(place)
    found = _fitted(name, world, size=3, patch=patch, **options).attention(world.test.all().inputs)
    assert found is not None and found.locations is not None
    assert found.locations.shape == (len(world.task.locations),)
    assert (found.locations > 0).all()
    assert found.locations.sum() == pytest.approx(1, rel=1e-4)


def test_the_mean_over_issue_times_is_the_mean_of_single_ones(few: World) -> None:
    model = _fitted("attention-lstm", few)
    inputs = few.test.batch(np.arange(3)).inputs
    together = model.attention(inputs)
    single = [model.attention(one) for one in inputs.chunks(1)]
    frames = [one.frames for one in single if one is not None and one.frames is not None]
    assert together is not None and together.frames is not None
    np.testing.assert_allclose(together.frames, np.mean(frames, axis=0), rtol=1e-5)


@pytest.mark.parametrize("name", ["ridge-var", "lstm", "simvp", "convlstm"])
def test_a_model_without_attention_has_none(name: str, world: World, fitted: Callable[[str], Model]) -> None:
    assert fitted(name).attention(world.test.all().inputs) is None


def test_a_network_whose_correction_has_no_weight_has_none(few: World) -> None:
    model = _fitted("attention-lstm", few)
    assert isinstance(model, NeuralModel)
    none = replace(model._correction, weight=np.zeros_like(model._correction.weight))
    model._correction = model._without_covariates = none
    assert model.attention(few.test.all().inputs) is None


def test_a_blend_has_that_of_its_member_with_attention(few: World) -> None:
    options = {f"attention-lstm.{name}": value for name, value in SMALL.items()}
    blend = build("blend", few.task, members="damped-anomaly, attention-lstm", weights="equal", **options)
    blend.fit(few.train, few.validation)
    found = blend.attention(few.test.all().inputs)
    assert found is not None and found.frames is not None
    np.testing.assert_allclose(found.frames.sum(axis=1), 1, rtol=1e-4)


def test_an_unfitted_network_and_wrong_arrays_are_refused(few: World, task_of: Callable[..., Task]) -> None:
    inputs = few.test.all().inputs
    with pytest.raises(NotFittedError):
        build("attention-lstm", few.task, **SMALL).attention(inputs)
    with pytest.raises(ModelError, match=r"inputs\.values"):
        build("attention-lstm", task_of(5), **SMALL).attention(inputs)


@pytest.mark.parametrize("kind", ["dot", "additive", "multi-head"])
def test_mean_weights_in_pieces_are_the_mean_of_all(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, query, memory = Attention(8, kind=kind), torch.randn(5, 4, 8), torch.randn(5, 6, 8)
    expected = layer.weights(query, memory).mean((0, 1))
    monkeypatch.setattr("models.layers.attention._PIECE", 3)
    torch.testing.assert_close(layer.mean_weights(query, memory), expected)


def test_a_large_field_spreads_the_weight_of_a_token_over_its_cells() -> None:
    torch.manual_seed(0)
    weights = SpatialMemory(4, most=4).cell_weights(torch.randn(3, 2, 4, 4, 4))
    assert weights.shape == (4, 4)
    torch.testing.assert_close(weights[:2, :2], weights[0, 0].expand(2, 2))
    assert weights.sum().item() == pytest.approx(4)  # each of four tokens counts for its four cells
