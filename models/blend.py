"""The mean of unlike models: their errors differ, so part of them cancels."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.base import Epoch, Model, Progress, State, prefixed, scoped, silent, take
from models.baselines.base import Baseline, Floats
from models.catalogue import MODELS, build
from models.errors import ModelError, NotFittedError
from models.statistics.mixing import best_spread, best_weights, widened
from models.statistics.series import CHUNK, batches
from models.task import Batch, Inputs, Task, Windows

_LOG = logging.getLogger(__name__)
_WEIGHTS = ("equal", "validation")
# For each place in the blend, the first of these that the task allows.
_GRID = (("attention-convlstm",), ("simvp",), ("pooled-convolution",), ("linear-inverse",))
_STATIONS = (("attention-convlstm",), ("ridge-var", "damped-anomaly"), ("gradient-boosting", "seasonal-naive"))
# Numbers of one member's forecasts that weights are chosen on; more change the choice no longer.
_MOST_NUMBERS = 4_000_000


class Blend(Model):
    """The mean, level by level, of what its members' quantiles say (Lichtendahl et al. 2013).

    Such a mean is ordered and within the limits as its members are, and as sharp as they are in the mean.
    Validation windows choose a weight for each member and lead, believed half-way, the other half being
    equal weights: one validation period is one draw. They also choose one factor that widens or narrows
    the blend, since less error needs less width; it is believed half-way too.

    A member that cannot be fitted is left out with a warning; two must remain.

    Args:
        task: what to forecast.
        members: names of models, as a list or separated by commas; by default the flagship with models
            unlike it that the task allows.
        weights: `validation`, or `equal` for the plain mean.
        options: options of members, each named `member.option`, such as `attention-convlstm.hidden`.

    Raises:
        ModelError: a name or an option is unknown, members are fewer than two, or one refuses the task.
    """

    name: ClassVar[str] = "blend"

    def __init__(
        self, task: Task, *, members: str | Sequence[str] | None = None, weights: str = "validation", **options: Any
    ) -> None:
        super().__init__(task)
        if weights not in _WEIGHTS:
            raise ModelError(f"blend: weights must be one of {', '.join(_WEIGHTS)}, found {weights!r}")
        self._how = weights
        names = _default_members(task) if members is None else _names(members)
        own = _by_member(names, options)
        self._members = {name: build(name, task, **own[name]) for name in names}
        self._weights: Floats | None = None
        self._spread = 1.0

    @property
    def weights(self) -> dict[str, tuple[float, ...]]:
        """How much of each member the blend takes, by lead; 0 where it was left out.

        Raises:
            NotFittedError: nothing has been learnt yet.
        """
        return {name: tuple(row.tolist()) for name, row in zip(self._members, self._fitted(), strict=True)}

    def options(self) -> dict[str, Any]:
        """The constructor options, ready for JSON."""
        own = {f"{name}.{key}": value for name, one in self._members.items() for key, value in one.options().items()}
        return {"members": list(self._members), "weights": self._how, **own}

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        seed: int = 0,
        budget_seconds: float | None = None,
        progress: Progress = silent,
    ) -> None:
        """Fit every member, then the weights; see `Model.fit`. Epochs are told in one count.

        Networks share what the baselines leave of the budget.

        Raises:
            ModelError: there is nothing to learn from, or fewer than two members could be fitted.
        """
        deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
        self._check_windows(train, validation)
        self._weights = None  # a training that fails must not leave a model behind
        order = sorted(self._members, key=lambda name: not isinstance(self._members[name], Baseline))
        count, fitted = _Count(progress), []
        for position, name in enumerate(order):
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) / (len(order) - position)
            count.later = len(order) - position - 1
            try:
                self._members[name].fit(train, validation, seed=seed, budget_seconds=left, progress=count)
            except ModelError as error:
                _LOG.warning("blend: %s is left out: %s", name, error)
            else:
                fitted.append(name)
            count.close()
        if len(fitted) < 2:
            raise ModelError(f"blend: two members are needed, fitted: {', '.join(fitted) or 'none'}")
        among = np.array([name in fitted for name in self._members])
        self._weights = np.repeat(among[:, None] / among.sum(), self.task.leads, axis=1).astype(np.float32)
        self._spread = 1.0
        if len(validation):
            self._calibrate(validation, among)

    def predict(self, inputs: Inputs) -> Floats:
        """Quantiles (n, lead, target, location, quantile) in physical units.

        Raises:
            NotFittedError: nothing has been learnt yet.
            ModelError: the arrays do not fit the task.
        """
        inputs.check(self.task)
        weights = self._fitted()
        size = len(self.task.targets), len(self.task.locations), len(self.task.quantiles)
        out = np.zeros((len(inputs), self.task.leads, *size), np.float32)
        for weight, member in zip(weights, self._members.values(), strict=True):
            if weight.any():
                out += weight[:, None, None, None] * member.predict(inputs)
        return self._limited(widened(out, self._spread, self.task.quantiles.index(0.5)))

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything learnt, by name.

        Raises:
            NotFittedError: nothing has been learnt yet.
        """
        weights = self._fitted()
        found: dict[str, NDArray[Any]] = {"weights": weights, "spread": np.array([self._spread])}
        for weight, (name, member) in zip(weights, self._members.items(), strict=True):
            if weight.any():
                found |= prefixed(name, member.state())
        return found

    def load_state(self, state: State) -> None:
        """Take over a state; see `Model.load_state`."""
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

    def _calibrate(self, validation: Windows, among: NDArray[np.bool_]) -> None:
        """Choose weights and spread on about as many validation windows as tell them."""
        task, equal = self.task, self._fitted()
        held = list(self._held(validation))
        inputs = [batch.inputs for batch in held]
        truth = np.concatenate([batch.target for batch in held])
        known = np.concatenate([batch.target_mask for batch in held])
        if not known.any():
            return
        members = [member for member, taken in zip(self._members.values(), among, strict=True) if taken]
        said = np.stack([np.concatenate([member.predict(part) for part in inputs]) for member in members])
        if self._how == "validation":
            chosen = best_weights(said, task.quantiles, truth, known)
            equal[among] = (equal[among] + chosen) / 2
        mixed = np.einsum("mntlpq,mt->ntlpq", said, equal[among])
        self._spread = float(np.sqrt(best_spread(mixed, task.quantiles, truth, known)))

    def _held(self, validation: Windows) -> Iterator[Batch]:
        task = self.task
        numbers = task.leads * len(task.targets) * len(task.locations) * len(task.quantiles)
        most = max(1, _MOST_NUMBERS // numbers)
        return batches(validation, min(CHUNK, most), most)

    def _limited(self, quantiles: Floats) -> Floats:
        for position, channel in enumerate(self.task.target_channels):
            low, high = self.task.limits[channel]
            if low is not None or high is not None:
                part = quantiles[:, :, position]
                np.clip(part, low, high, out=part)
        return quantiles


class _Count:
    """Tells the epochs of all members in one count."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._before, self._now = 0, 0
        self.later = 0

    def __call__(self, epoch: Epoch) -> None:
        self._now = self._now + 1
        done = self._before + self._now
        ahead = max(0, epoch.epochs - epoch.epoch) + self.later
        self._progress(replace(epoch, epoch=done, epochs=done + ahead))

    def close(self) -> None:
        """The member has finished."""
        self._before, self._now = self._before + self._now, 0


def _names(members: str | Sequence[str]) -> list[str]:
    names = [name.strip() for name in (members.split(",") if isinstance(members, str) else members)]
    if unknown := [name for name in names if name not in MODELS or name == Blend.name]:
        raise ModelError(f"blend: no member can be {', '.join(map(repr, unknown))}; there are {', '.join(MODELS)}")
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
                _LOG.info("blend: no %s here: %s", name, error)
            else:
                names.append(name)
                break
    return _names(names)


def _by_member(names: Sequence[str], options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in options.items():
        member, _, option = key.partition(".")
        if member not in found or not option:
            raise ModelError(f"blend: unknown option {key!r}; want member.option, members are {', '.join(names)}")
        found[member][option] = value
    return found
