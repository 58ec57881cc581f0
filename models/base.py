"""The interface of every model, baseline or network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.search_space import SearchSpace
from models.task import Inputs, Task, Windows

State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Epoch:
    """Progress after one epoch; losses are in normalised units."""

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    seconds: float


Progress = Callable[[Epoch], None]


def silent(epoch: Epoch) -> None:
    """Report nothing."""


class EpochCounter:
    """Reports the epochs of models that are trained one after another in one count.

    Attributes:
        later: number of models still to come, each counted as one epoch.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._before, self._now = 0, 0
        self.later = 0

    def __call__(self, epoch: Epoch) -> None:
        """Report an epoch of the model that is trained now."""
        self._now = self._now + 1
        done = self._before + self._now
        remaining = max(0, epoch.epochs - epoch.epoch) + self.later
        self._progress(replace(epoch, epoch=done, epochs=done + remaining))

    def close(self) -> None:
        """Start counting for the next model."""
        self._before, self._now = self._before + self._now, 0


@dataclass(frozen=True, slots=True)
class AttentionMap:
    """Mean attention weights of a network over some issue times.

    They tell where the network looks. They are not the importance of an input: a forecast may rest on what gets little
    weight, and need not change with what gets much (Jain and Wallace 2019, arXiv:1902.10186).

    Attributes:
        frames: (lead, context), weight of each context frame, oldest first; a row sums to 1. 0 for frames that the
            network does not read. None without attention over time.
        locations: (location,), weight of each location; they sum to 1. None without attention over space.
    """

    frames: NDArray[np.float32] | None = None
    locations: NDArray[np.float32] | None = None


class Model(ABC):
    """A probabilistic forecaster for one task.

    Whatever inputs are missing, `predict` returns finite, ordered quantiles within the physical limits. Options and
    state define a model completely: `load_state(state())` on a model with the same options gives bit-equal forecasts.
    """

    name: ClassVar[str]
    keeps_to_budget: ClassVar[bool] = False
    """Whether `fit` and `refit` end soon after `budget_seconds`; otherwise they take as long as the data need."""

    def __init__(self, task: Task) -> None:
        self.task = task

    @classmethod
    def search_space(cls, task: Task) -> SearchSpace:
        """Return the options worth a search for a task; empty for a model that has none."""
        return {}

    def parts(self) -> Mapping[str, Model]:
        """Return the models that `fit` fits first, by role: the base of a network, the members of a blend."""
        return {}

    @abstractmethod
    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        seed: int = 0,
        budget_seconds: float | None = None,
        parts: Mapping[str, Model] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Fit to `train`, and select and calibrate on `validation`, which may be empty.

        The same data and seed give the same model on the same CPU, unless the budget cuts training short. Baselines
        ignore the budget; a network stops in time and keeps its best weights.

        Args:
            train: what to fit to.
            validation: what to choose on.
            seed: of everything random.
            budget_seconds: when to stop; no limit by default.
            parts: models equal to those of `parts`, fitted to the same windows, which are copied; one that is not
                among them is missing. By default, the model fits its parts itself.
            progress: called after each epoch.

        Raises:
            ModelError: there is nothing to learn from, the windows belong to another task, or a part is missing that
                the model cannot do without.
            DivergedError: the loss is not finite.
        """

    @abstractmethod
    def refit(
        self,
        judged: Model,
        windows: Windows,
        *,
        start: Model | None = None,
        seed: int = 0,
        budget_seconds: float | None = None,
        parts: Mapping[str, Model] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Fit the recipe of `judged` to `windows`, usually everything known, with later data than `judged` saw.

        What only unseen data can tell is taken from `judged`: the dressing of errors, choices among options, length of
        training, weights and spread. Climate, coefficients and network weights are fitted anew.

        Args:
            judged: a fitted model of the same name, task and options.
            windows: what to fit to.
            start: an earlier refit of the same name, task and options. A network continues training from its weights,
                for fewer epochs; baselines ignore it.
            seed: as in `fit`.
            budget_seconds: time for everything, including the base of a network, which trains for its planned length
                or not at all.
            parts: as in `fit`, each refitted to the same windows.
            progress: as in `fit`; the validation loss is NaN.

        Raises:
            ModelError: there is nothing to learn from, the windows belong to another task, or `judged` or `start` has
                another name, task or options.
            NotFittedError: `judged` or `start` is not fitted.
            DivergedError: the loss is not finite.
            OutOfTimeError: the budget ends before the planned length of training.
        """

    @abstractmethod
    def predict(self, inputs: Inputs) -> NDArray[np.float32]:
        """Return quantiles (n, lead, target, location, quantile) in physical units.

        They are finite, non-decreasing along the last axis and within the limits of the task.

        Raises:
            NotFittedError: the model is not fitted.
            ModelError: the arrays do not fit the task.
        """

    @abstractmethod
    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything learnt, by name."""

    @abstractmethod
    def load_state(self, state: State) -> None:
        """Load the state of another model of the same name, task and options.

        Raises:
            ModelError: an array is missing or has the wrong shape.
        """

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON: `build(name, task, **options())` makes an equal model."""

    def attention(self, inputs: Inputs) -> AttentionMap | None:
        """Return the mean attention weights with which `predict` forecasts these inputs; None without attention.

        Raises:
            NotFittedError: the model is not fitted.
            ModelError: the arrays do not fit the task.
        """
        return None

    def remarks(self) -> tuple[str, ...]:
        """Return remarks on the fitted model for people, one line each; most models have none."""
        return ()

    @property
    def parameters(self) -> int:
        """Number of learnt values; 0 before the model is fitted."""
        try:
            return sum(array.size for array in self.state().values())
        except ModelError:
            return 0

    def _check_windows(self, train: Windows, validation: Windows | None = None) -> None:
        for name, windows in (("train", train), ("validation", validation)):
            if windows is not None and windows.task != self.task:
                raise ModelError(f"{self.name}: the {name} windows belong to another task")
        if len(train) == 0:
            raise ModelError(f"{self.name}: there are no training windows")

    def _same_recipe(self, other: Model) -> Self:
        """Return `other` as a model of this class.

        Raises:
            ModelError: it has another name, task or options.
        """
        if not isinstance(other, type(self)) or other.name != self.name:
            raise ModelError(f"{self.name}: cannot refit {other.name}")
        if other.task != self.task:
            raise ModelError(f"{self.name}: cannot refit a model of another task")
        if other.options() != self.options():
            raise ModelError(f"{self.name}: cannot refit a model with other options")
        return other

    def _copy_part(self, role: str, part: Model, parts: Mapping[str, Model]) -> None:
        """Load into `part` the state of the fitted model of this role.

        Raises:
            ModelError: it is missing, or another model.
        """
        if role not in parts:
            raise ModelError(f"{self.name}: {part.name} is needed for it and could not be fitted")
        part.load_state(part._same_recipe(parts[role]).state())


def scoped(prefix: str, state: State) -> dict[str, NDArray[Any]]:
    """Return the entries below `prefix`, without the prefix."""
    start = f"{prefix}."
    return {name[len(start) :]: array for name, array in state.items() if name.startswith(start)}


def prefixed(prefix: str, state: State) -> dict[str, NDArray[Any]]:
    """Return the same entries below `prefix`."""
    return {f"{prefix}.{name}": array for name, array in state.items()}


def take(state: State, name: str, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Return one entry of a state.

    Raises:
        ModelError: it is missing or has another shape.
    """
    if name not in state:
        raise ModelError(f"state: {name!r} is missing")
    array = state[name]
    if shape is not None and array.shape != shape:
        raise ModelError(f"state: {name!r} has shape {array.shape}, expected {shape}")
    return array
