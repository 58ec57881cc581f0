from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from models.catalogue import MODELS, build
from models.networks.neural import NeuralModel
from models.search_space import Choice, FloatRange, IntRange, Range, within
from models.task import Task

WITHOUT = {"persistence", "climatology", "damped-anomaly", "seasonal-naive", "prophet", "blend"}


def bounds(allowed: Range) -> tuple[Any, Any]:
    match allowed:
        case Choice(values):
            return values[0], values[-1]
        case IntRange(low, high, step):
            return low, low + (high - low) // step * step
        case FloatRange(low, high):
            return low, high


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("grid", [False, True])
def test_a_model_can_be_built_at_both_ends_of_its_space(name: str, grid: bool, task_of: Callable[..., Task]) -> None:
    task = task_of(stations=12, grid=(3, 4)) if grid else task_of(stations=12)
    space = MODELS[name].load().search_space(task)
    assert (not space) == (name in WITHOUT)
    for end in (0, 1):
        options = {option: bounds(allowed)[end] for option, allowed in space.items()}
        assert within(space, options) == options
        found = build(name, task, **options).options()
        assert {option: found[option] for option in options} == options


def test_every_network_searches_its_size_and_its_training(task_of: Callable[..., Task]) -> None:
    for name, entry in MODELS.items():
        if issubclass(entry.load(), NeuralModel):
            space = entry.load().search_space(task_of())
            assert {"hidden", "frames", "dropout", "learning_rate", "epochs"} <= set(space), name


def test_ranges_follow_the_task(task_of: Callable[..., Task]) -> None:
    ridge = MODELS["ridge-var"].load()
    assert ridge.search_space(task_of(context=5))["lags"] == IntRange(1, 5)
    assert ridge.search_space(task_of(context=40, channels=("a", "b", "c")))["lags"] == IntRange(1, 24)
    assert ridge.search_space(task_of(stations=1000, context=40))["lags"] == IntRange(1, 5)
    assert ridge.search_space(task_of(stations=7000)) == {}
    assert "size" not in MODELS["convlstm"].load().search_space(task_of(stations=12, grid=(3, 4)))


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (IntRange(8, 64, step=8), (8, 64), (4, 72, 12, 8.0, True, None, "8")),
        (FloatRange(1e-4, 1e-2, log=True), (1e-4, 1e-2, 0.005), (1e-5, 1, None, True, "0.005")),
        (FloatRange(0.0, 2.0), (0, 1, 2.0), (-0.1, 2.1)),
        (Choice((False, True)), (False, True), (0, 1, None, "true")),
        (Choice(("none", "multi-head")), ("none",), ("additive", None)),
    ],
)
def test_a_range_contains_values_of_its_type(allowed: Range, inside: tuple[Any, ...], outside: tuple[Any, ...]) -> None:
    assert all(one in allowed for one in inside)
    assert not any(one in allowed for one in outside)
    for number, value in enumerate((*inside, *outside)):
        assert within({"x": allowed}, {"x": value, "y": 1}) == ({"x": value} if number < len(inside) else {})
    assert within({"x": allowed}, {}) == {}
