"""A small world with the truth known: correlated stations, gaps, and windows over them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.base import Model
from models.catalogue import MODELS, build
from models.networks.model_config import FieldNetworkConfig
from models.networks.network import Network
from models.networks.neural import NeuralModel
from models.networks.schedule import TrainingLength
from models.task import Task
from tests.records import Record

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
SMALL_BASELINES: dict[str, dict[str, Any]] = {
    "arima": {"frames": 150},
    "blend": {"members": "climatology, damped-anomaly, ridge-var"},
    "gradient-boosting": {"rounds": 30},
    "prophet": {"growth": "flat"},
}
QUICK = {"hidden": 4, "frames": 3, "epochs": 1, "learning_rate": 0.01, "batch": 32}


@dataclass(frozen=True)
class World:
    train: Record
    validation: Record
    test: Record

    @property
    def task(self) -> Task:
        return self.train.task

    def permuted(self, order: NDArray[np.intp]) -> World:
        return World(*(part.permuted(order) for part in (self.train, self.validation, self.test)))


def make_task(stations: int = 4, channels: tuple[str, ...] = ("wind",), **changes: Any) -> Task:
    rng = np.random.default_rng(stations)
    task = Task(
        channels=channels,
        targets=channels[:1],
        context=6,
        leads=3,
        quantile_levels=QUANTILES,
        step_seconds=86_400,
        locations=tuple(f"s{i}" for i in range(stations)),
        longitude=tuple(rng.uniform(-10, -6, stations).tolist()),
        latitude=tuple(rng.uniform(51, 55, stations).tolist()),
        transforms=tuple("sqrt" for _ in channels),
        limits=tuple((0.0, 60.0) for _ in channels),
    )
    return replace(task, **changes)


def make_world(task: Task, frames: int = 500, gaps: float = 0.03, dead: int | None = None) -> World:
    """A damped wave over correlated stations, in the square-root space, with gaps; `dead` never reports."""
    rng = np.random.default_rng(7)
    shape = (frames, len(task.channels), len(task.locations))
    shared = rng.normal(size=(frames, 1, 1))
    noise = 0.7 * shared + 0.5 * rng.normal(size=shape)
    field = np.zeros(shape)
    for frame in range(1, frames):
        field[frame] = 0.7 * field[frame - 1] + 0.4 * noise[frame]
    values = np.square(np.maximum(3 + 0.2 * np.arange(shape[2]) + field, 0)).astype(np.float32)
    mask = rng.random(shape) >= gaps
    if dead is not None:
        mask[..., dead] = False
    time = (np.arange(frames) * task.step_seconds + 20_000 * 86_400).astype("datetime64[s]")
    issues = np.arange(task.context - 1, frames - task.leads)
    gap = task.context + task.leads
    a, b = int(0.7 * len(issues)), int(0.85 * len(issues))
    parts = issues[: a - gap], issues[a : b - gap], issues[b:]
    return World(*(Record(task, time, values, mask, part) for part in parts))


def make_network(name: str, task: Task, **options: Any) -> Network:
    """The untrained network of a model."""
    model = build(name, task, **options)
    assert isinstance(model, NeuralModel)
    return model.network()


def quick(name: str) -> dict[str, Any]:
    """Options of a small network on a small base; attention-convlstm keeps its own base."""
    kind = MODELS[name].load()
    if not issubclass(kind, NeuralModel):
        return SMALL_BASELINES.get(name, {})
    field = {"size": 3} if issubclass(kind.config_class, FieldNetworkConfig) else {}
    base = {} if name == "attention-convlstm" else {"base": "damped-anomaly"}
    return QUICK | field | base


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors on busy machines: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def task_of() -> Callable[..., Task]:
    return make_task


@pytest.fixture(scope="session")
def world_of() -> Callable[..., World]:
    return make_world


@pytest.fixture(scope="session")
def world() -> World:
    return make_world(make_task())


@pytest.fixture(scope="session")
def new() -> Callable[..., Model]:
    """A model with options that make it quick."""
    return lambda name, task, **options: build(name, task, **(quick(name) | options))


def perturb(model: Model) -> None:
    """Move a network off what it learnt in a moment, and serve all of it: else only its base would be seen."""
    if isinstance(model, NeuralModel):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            for member in model._fitted().values():
                for parameter in member.network.parameters():
                    parameter.data += 0.1 * torch.randn_like(parameter)
        everything = replace(model._correction, weight=np.ones_like(model._correction.weight))
        model._correction = model._without_covariates = everything
        model._members = {
            number: member._replace(trained=TrainingLength(1, 1.0)) for number, member in model._members.items()
        }


@pytest.fixture(scope="session")
def perturbed(world: World, new: Callable[..., Model]) -> Callable[[str], Model]:
    """A fitted model, and of a network one whose every weight counts; shared, so tests leave it as it is."""
    known: dict[str, Model] = {}

    def get(name: str) -> Model:
        if name not in known:
            known[name] = new(name, world.task)
            known[name].fit(world.train, world.validation)
            perturb(known[name])
        return known[name]

    return get


@pytest.fixture(scope="session")
def fitted(world: World, new: Callable[..., Model]) -> Callable[[str], Model]:
    """A model of this name that has learnt the world; shared, so tests leave it as it is."""
    known: dict[str, Model] = {}

    def get(name: str) -> Model:
        if name not in known:
            known[name] = new(name, world.task)
            known[name].fit(world.train, world.validation)
        return known[name]

    return get
