"""The weighted mean of different models, whose errors partly cancel."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.base import AttentionMap, EpochCounter, Model, Progress, State, prefixed, scoped, silent, take
from models.baselines.base import Baseline, Floats
from models.catalogue import MODELS, build
from models.errors import ModelError, NotFittedError
from models.statistics.mixing import best_spread, best_weights, widen
from models.statistics.series import CHUNK, batches
from models.task import Batch, Inputs, Task, Windows

_LOG = logging.getLogger(__name__)
_WEIGHTS = ("equal", "validation")
# Default members; of each group, the first that the task allows.
_GRID = (("attention-convlstm",), ("simvp",), ("pooled-convolution",), ("linear-inverse",))
_STATIONS = (("attention-convlstm",), ("ridge-var", "damped-anomaly"), ("gradient-boosting", "seasonal-naive"))
# Forecast values of one member that the weights are chosen on; more would hardly change them.
_MAX_VALUES = 4_000_000


class Blend(Model):
    """The weighted mean of its members' quantiles, level by level (Lichtendahl et al. 2013).

    Like its members, the mean is ordered and within the limits, and it is as sharp as they are on average. Validation
    windows choose a weight for each member and lead; since a validation period is one sample of the future, the blend
    uses the mean of these and equal weights. Validation also chooses one factor on the spread, because the blend has
    smaller errors than its members; half of it is applied, on a log scale.

    A member that cannot be fitted is left out with a warning; at least two must remain.

    Args:
        task: what to forecast.
        members: names of models, as a list or separated by commas; by default `attention-convlstm` and models that
            differ from it, as far as the task allows.
        weights: `validation`, or `equal` for the plain mean.
        options: options of members, each named `member.option`, such as `attention-convlstm.hidden`.

    Raises:
        ModelError: a name or an option is unknown, there are fewer than two members, or one cannot forecast the task.
    """

    name: ClassVar[str] = "blend"

    def __init__(
        self, task: Task, *, members: str | Sequence[str] | None = None, weights: str = "validation", **options: Any
    ) -> None:
        super().__init__(task)
        if weights not in _WEIGHTS:
            raise ModelError(f"blend: weights must be one of {', '.join(_WEIGHTS)}, found {weights!r}")
        self._weighting = weights
        names = _default_members(task) if members is None else _names(members)
        member_options = _by_member(names, options)
        self._members = {name: build(name, task, **member_options[name]) for name in names}
        self._weights: Floats | None = None
        self._spread = 1.0

    @property
    def weights(self) -> dict[str, tuple[float, ...]]:
        """Weight of each member by lead; 0 for a member that was left out.

        Raises:
            NotFittedError: the model is not fitted.
        """
        return {name: tuple(row.tolist()) for name, row in zip(self._members, self._fitted(), strict=True)}

    def parts(self) -> Mapping[str, Model]:
        """Return the members by name; of a fitted blend, those with a weight."""
        return self._members if self._weights is None else self._fitted_members()

    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON."""
        own = {f"{name}.{key}": value for name, one in self._members.items() for key, value in one.options().items()}
        return {"members": list(self._members), "weights": self._weighting, **own}

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
        """Fit every member, then the weights; see `Model.fit`. Progress counts the epochs of all members.

        Networks share the budget that the baselines leave.

        Raises:
            ModelError: there is nothing to learn from, or fewer than two members could be fitted.
        """
        self._check_windows(train, validation)
        self._weights = None  # failed training leaves the model unfitted
        fitted = []
        for name, budget, counter in self._turns(list(self._members), budget_seconds, progress):
            member = self._members[name]
            try:
                if parts is None:
                    member.fit(train, validation, seed=seed, budget_seconds=budget, progress=counter)
                else:
                    self._copy_part(name, member, parts)
            except ModelError as error:
                _LOG.warning("blend: leaving out %s: %s", name, error)
            else:
                fitted.append(name)
        if len(fitted) < 2:
            raise ModelError(f"blend: at least two members are needed, fitted {', '.join(fitted) or 'none'}")
        is_fitted = np.array([name in fitted for name in self._members])
        self._weights = np.repeat(is_fitted[:, None] / is_fitted.sum(), self.task.leads, axis=1).astype(np.float32)
        self._spread = 1.0
        if len(validation):
            self._calibrate(validation, is_fitted)

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
        """Refit every member that has a weight in `judged`, with its weights and spread; see `Model.refit`.

        Raises:
            ModelError: there is nothing to learn from, the windows belong to another task, or `judged` or `start` has
                another name, task or options.
            NotFittedError: `judged` or `start` is not fitted.
            DivergedError: the loss of a member is not finite.
            OutOfTimeError: the budget ends before a member is trained for its planned length.
        """
        recipe, former = self._same_recipe(judged), None if start is None else self._same_recipe(start)
        self._check_windows(windows)
        weights, members = recipe._fitted(), recipe._fitted_members()
        former_members = {} if former is None else former._fitted_members()
        deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
        self._weights = None  # failed training leaves the model unfitted
        for name, _, counter in self._turns(list(members), None, progress):
            if parts is not None:
                self._copy_part(name, self._members[name], parts)
                continue
            self._members[name].refit(
                members[name],
                windows,
                start=former_members.get(name),
                seed=seed,
                budget_seconds=None if deadline is None else max(0.0, deadline - time.monotonic()),
                progress=counter,
            )
        self._weights, self._spread = weights.copy(), recipe._spread

    def _turns(
        self, names: Sequence[str], budget_seconds: float | None, progress: Progress
    ) -> Iterator[tuple[str, float | None, Progress]]:
        """Yield members, baselines first, each with its share of the remaining budget and a counter of epochs."""
        deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
        counter = EpochCounter(progress)
        order = sorted(names, key=lambda name: not isinstance(self._members[name], Baseline))
        for position, name in enumerate(order):
            left = len(order) - position
            counter.later = left - 1
            budget = None if deadline is None else max(0.0, deadline - time.monotonic()) / left
            yield name, budget, counter
            counter.close()

    def predict(self, inputs: Inputs) -> Floats:
        """Return quantiles (n, lead, target, location, quantile) in physical units.

        Raises:
            NotFittedError: the model is not fitted.
            ModelError: the arrays do not fit the task.
        """
        inputs.check(self.task)
        weights = self._fitted()
        size = len(self.task.targets), len(self.task.locations), len(self.task.quantile_levels)
        out = np.zeros((len(inputs), self.task.leads, *size), np.float32)
        for weight, member in zip(weights, self._members.values(), strict=True):
            if weight.any():
                out += weight[:, None, None, None] * member.predict(inputs)
        return self._clip(widen(out, self._spread, self.task.quantile_levels.index(0.5)))

    def attention(self, inputs: Inputs) -> AttentionMap | None:
        """Return the attention weights of the member with attention that has the largest weight; None without one.

        Raises:
            NotFittedError: the model is not fitted.
            ModelError: the arrays do not fit the task.
        """
        weights = self.weights
        for name in sorted(self._fitted_members(), key=lambda name: -sum(weights[name])):
            found = self._members[name].attention(inputs)
            if found is not None:
                return found
        return None

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything learnt, by name.

        Raises:
            NotFittedError: the model is not fitted.
        """
        weights = self._fitted()
        state: dict[str, NDArray[Any]] = {"weights": weights, "spread": np.array([self._spread])}
        for name, member in self._fitted_members().items():
            state |= prefixed(name, member.state())
        return state

    def load_state(self, state: State) -> None:
        """Load a state; see `Model.load_state`."""
        weights = take(state, "weights", (len(self._members), self.task.leads))
        spread = take(state, "spread", (1,))
        for weight, (name, member) in zip(weights, self._members.items(), strict=True):
            if weight.any():
                member.load_state(scoped(name, state))
        self._weights, self._spread = weights, float(spread[0])

    def _fitted(self) -> Floats:
        if self._weights is None:
            raise NotFittedError(self.name)
        return self._weights

    def _fitted_members(self) -> dict[str, Model]:
        """Return the members that have a weight."""
        return {name: self._members[name] for name, weights in self.weights.items() if any(weights)}

    def _calibrate(self, validation: Windows, is_fitted: NDArray[np.bool_]) -> None:
        """Choose weights and spread on a sample of the validation windows."""
        task, weights = self.task, self._fitted()
        sample = list(self._sample(validation))
        inputs = [batch.inputs for batch in sample]
        truth = np.concatenate([batch.target for batch in sample])
        known = np.concatenate([batch.target_mask for batch in sample])
        if not known.any():
            return
        members = [member for member, fitted in zip(self._members.values(), is_fitted, strict=True) if fitted]
        forecasts = np.stack([np.concatenate([member.predict(part) for part in inputs]) for member in members])
        if self._weighting == "validation":
            best = best_weights(forecasts, task.quantile_levels, truth, known)
            weights[is_fitted] = (weights[is_fitted] + best) / 2
        mixed = np.einsum("mntlpq,mt->ntlpq", forecasts, weights[is_fitted])
        self._spread = float(np.sqrt(best_spread(mixed, task.quantile_levels, truth, known)))

    def _sample(self, validation: Windows) -> Iterator[Batch]:
        task = self.task
        values = task.leads * len(task.targets) * len(task.locations) * len(task.quantile_levels)
        most = max(1, _MAX_VALUES // values)
        return batches(validation, min(CHUNK, most), most)

    def _clip(self, quantiles: Floats) -> Floats:
        for position, channel in enumerate(self.task.target_channels):
            low, high = self.task.limits[channel]
            if low is not None or high is not None:
                part = quantiles[:, :, position]
                np.clip(part, low, high, out=part)
        return quantiles


def _names(members: str | Sequence[str]) -> list[str]:
    names = [name.strip() for name in (members.split(",") if isinstance(members, str) else members)]
    if unknown := [name for name in names if name not in MODELS or name == Blend.name]:
        raise ModelError(f"blend: {', '.join(map(repr, unknown))} cannot be a member; models are {', '.join(MODELS)}")
    if len(set(names)) != len(names) or len(names) < 2:
        raise ModelError(f"blend: members must be two or more different models, found {names}")
    return names


def _default_members(task: Task) -> list[str]:
    names = []
    for choices in _STATIONS if task.grid is None else _GRID:
        for name in choices:
            try:
                build(name, task)
            except ModelError as error:
                _LOG.info("blend: %s is not available for this task: %s", name, error)
            else:
                names.append(name)
                break
    return _names(names)


def _by_member(names: Sequence[str], options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in options.items():
        member, _, option = key.partition(".")
        if member not in found or not option:
            raise ModelError(f"blend: unknown option {key!r}; use member.option, members are {', '.join(names)}")
        found[member][option] = value
    return found
