"""One linear convolution shared by all locations, fitted by least squares in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.baselines.neighbourhood import find_neighbours
from models.baselines.normal_equations import NormalEquations
from models.errors import ModelError
from models.search_space import IntRange, SearchSpace
from models.statistics.lags import autocorrelation
from models.statistics.series import batches
from models.task import Inputs, Task, Windows

_DAY = 86_400
_RADII = (2, 3)
_LAGS = (2, 4)
_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_DEFAULT_RIDGE = 1e-3
# Maximum number of predictors from the last day, beyond the latest frames.
_MAX_DAY_LAGS = 10
# Weight of an anomaly of 0 when a gap is filled from neighbours of weight 1.
_PRIOR_WEIGHT = 0.05
# Prior weight, in frames, of the mean error of all locations.
_POOLING = 30.0
# Number of issue frames for the residual standard deviation.
_MAX_ISSUES = 512
# Maximum number of multiplications in fitting and in selection, and of values in memory.
_MAX_OPERATIONS = 1e11
_MAX_VALUES = 1 << 24

Doubles = NDArray[np.float64]


class PooledConvolution(Baseline):
    """Regresses each lead on the latest frames around a location, with the same weights everywhere.

    On a grid the neighbours are squares of cells, and anomalies have the same units in all cells, since advection
    preserves values. For stations they are the nearest ones in order of distance, in units of their own spread. For
    steps shorter than a day, values of the last day at the location itself are predictors too. Validation chooses
    neighbourhood, lags, last day and ridge for each lead and target.

    Missing values are filled first by normalised convolution (Knutsson and Westin 1993): the last known value of a
    location loses confidence with age, and a gap gets the mean of its neighbours, weighted by confidence and nearness.
    Cells beyond the edge of a grid are missing.

    Args:
        task: what to forecast.
        radius: rings of neighbours: 1, 2, 3 are squares of 3, 5, 7 cells or 4, 8, 16 stations; by default 2 or 3.
        lags: number of latest frames of the neighbourhood; by default 2 or 4, as far as the context goes.

    Raises:
        ModelError: an option is out of range.
    """

    name: ClassVar[str] = "pooled-convolution"

    # Radius, lags, last day and ridge of each output, (4, output).
    _choice: Doubles

    def __init__(self, task: Task, *, radius: int | None = None, lags: int | None = None) -> None:
        super().__init__(task)
        if radius is not None and not 1 <= radius <= 3:
            raise ModelError(f"pooled-convolution: radius must lie within 1..3, found {radius}")
        if lags is not None and not 1 <= lags <= task.context:
            raise ModelError(f"pooled-convolution: lags must lie within 1..{task.context}, found {lags}")
        self._options = {"radius": radius, "lags": lags}
        self._radii = _RADII if radius is None else (radius,)
        self._depths = tuple(sorted({min(lag, task.context) for lag in _LAGS})) if lags is None else (lags,)
        self._neighbourhood = find_neighbours(task, self._radii[-1])
        self._own_lags = _day_lags(task, self._depths[-1])
        self._reach = max(self._depths[-1], *(lag + 1 for lag in self._own_lags), 1)
        series = self._depths[-1] * len(task.channels)
        around = len(self._neighbourhood.ring) * series
        self._size = around + len(self._own_lags) * len(task.channels)
        self._outputs = task.leads * len(task.targets)
        # Ring and lag of each predictor of the neighbourhood; each slot has all lags and channels.
        self._ring = self._neighbourhood.ring.repeat(series)
        self._lag = np.resize(np.arange(self._depths[-1]).repeat(len(task.channels)), around)

    @classmethod
    def search_space(cls, task: Task) -> SearchSpace:
        """Return the radius of the neighbourhood and the lags, which validation chooses by default."""
        return {"radius": IntRange(1, 3), "lags": IntRange(1, min(8, task.context))}

    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON."""
        return dict(self._options)

    def _fit_anomalies(self, anomaly: Floats, known: Known, chooser: Windows | Self) -> None:
        task, targets = self.task, list(self.task.target_channels)
        self._persistence = np.clip(autocorrelation(anomaly, known, 1)[1].mean(-1, keepdims=True), 0, 1)
        self._scale = self._common_units()
        used = np.flatnonzero(known[:, targets].any((0, 1)))
        sums = NormalEquations(self._size, self._outputs, shared=bool(known[:, targets][:, :, used].all()))
        # The record is treated as one long context.
        fields = [array[0] for array in self._fields(anomaly[None], known[None], len(known))]
        truth = anomaly[:, targets] * self._scale[targets], known[:, targets]
        issues = np.arange(self._reach - 1, len(anomaly) - task.leads)
        for x, y, seen in self._examples(
            fields, truth, _subsample(issues, _MAX_OPERATIONS / sums.cost / max(len(used), 1)), used
        ):
            sums.add(x, y, seen)
        if isinstance(chooser, PooledConvolution):
            self._choice = chooser._choice
        else:
            self._choice = self._choose(sums, chooser, used) if len(chooser) else self._default_choice()
        self._weights = self._solve(sums)
        square, count = np.zeros((len(used), self._outputs)), np.zeros((len(used), self._outputs))
        for x, y, seen in self._examples(fields, truth, _subsample(issues, _MAX_ISSUES), used):
            error = np.where(seen, y - x @ self._weights, 0).reshape(-1, *square.shape)
            square, count = square + np.square(error).sum(0), count + seen.reshape(error.shape).sum(0)
        pooled = (square.sum(0) + 1e-6) / (count.sum(0) + 1e-6)
        self._residual = np.sqrt(pooled).astype(np.float32)[:, None].repeat(len(task.locations), axis=1)
        self._residual[:, used] = np.sqrt((square + _POOLING * pooled) / (count + _POOLING)).T

    def _examples(
        self, fields: list[Floats], truth: tuple[Floats, Known], issues: NDArray[np.intp], used: NDArray[np.intp]
    ) -> Iterator[tuple[Floats, Floats, Known]]:
        """Yield predictors, truths and their mask for these issue frames of a record, in chunks."""
        size = self._chunk_size(len(used))
        for start in range(0, len(issues), size):
            issue = issues[start : start + size, None]
            past, future = issue + np.arange(1 - self._reach, 1), issue + np.arange(1, self.task.leads + 1)
            x = self._predictors(fields[0][past[:, -self._depths[-1] :]], fields[1][past], used)
            yield x, _rows(truth[0][future], used), _rows(truth[1][future], used)

    def _default_choice(self) -> Doubles:
        """Return the choice (4, output) without validation: all predictors."""
        choice = np.array([self._radii[-1], self._depths[-1], len(self._own_lags) > 0, _DEFAULT_RIDGE])
        return choice[:, None].repeat(self._outputs, axis=1)

    def _solve(self, sums: NormalEquations) -> Floats:
        """Return the weights (p, output) of the choice of each output."""
        weights = np.zeros((self._size, self._outputs), np.float32)
        for choice in np.unique(self._choice, axis=1).T:
            outputs = (self._choice == choice[:, None]).all(0)
            columns = self._columns(int(choice[0]), int(choice[1]), bool(choice[2]))
            weights[:, outputs] = sums.solve(columns, (float(choice[3]),))[0][:, outputs]
        return weights

    def _choose(self, sums: NormalEquations, validation: Windows, used: NDArray[np.intp]) -> Doubles:
        """Return radius, lags, last day and ridge (4, output) with the least validation error for each output."""
        choices = list(product(self._radii, self._depths, (True, False) if self._own_lags else (False,)))
        candidates = np.concatenate([sums.solve(self._columns(*choice), _RIDGES) for choice in choices])
        flat = candidates.transpose(1, 0, 2).reshape(self._size, -1)
        loss = np.zeros((len(candidates), self._outputs))
        most = max(1, int(_MAX_OPERATIONS / flat.size / max(len(used), 1)))
        targets = list(self.task.target_channels)
        for batch in batches(validation, size=min(256, self._chunk_size(len(used))), most=most):
            anomaly, known = self.anomalies(batch.inputs)
            x = self._predictors(*self._fields(anomaly, known, self._depths[-1]), used)
            truth, truth_known = self.target_anomalies(batch)
            y, seen = _rows(truth * self._scale[targets], used), _rows(truth_known, used)
            for number in range(len(candidates)):
                loss[number] += np.square(np.where(seen, y - x @ candidates[number], 0)).sum(0)
        settings = np.array([(*choice, ridge) for choice in choices for ridge in _RIDGES])
        best: Doubles = settings[loss.argmin(0)].T
        return best

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Return the mean, and a standard deviation that grows from the residual one to 1 as inputs are missing."""
        task, targets = self.task, list(self.task.target_channels)
        locations = np.arange(len(task.locations))
        form = (-1, len(locations), task.leads, len(targets))
        mean = np.empty((len(anomaly), *form[2:], form[1]), np.float32)
        deviation = np.empty_like(mean)
        influence = np.abs(self._weights) / np.maximum(np.abs(self._weights).sum(0), 1e-6)
        residual = np.minimum(self._residual.reshape(task.leads, len(targets), -1) / self._scale[targets], 1)
        size = self._chunk_size(len(locations))
        for start in range(0, len(anomaly), size):
            part = slice(start, start + size)
            x = self._predictors(*self._fields(anomaly[part], known[part], self._depths[-1]), locations)
            mean[part] = (x @ self._weights).reshape(form).transpose(0, 2, 3, 1) / self._scale[targets]
            share = np.float32(1.0)
            if not known[part].all():
                trust = self._carry_forward(anomaly[part], known[part])[1]
                support = self._predictors(self._support(trust[:, -self._depths[-1] :]), trust, locations) @ influence
                share = np.clip(support, 0, 1).reshape(form).transpose(0, 2, 3, 1)
            deviation[part] = np.sqrt(1 - share * (1 - np.square(residual)))
        return mean, deviation

    def _fields(self, anomaly: Floats, known: Known, newest: int) -> tuple[Floats, Floats]:
        """Return the newest frames (n, frame, channel, node) with gaps filled, and all frames, in common units."""
        values, trust = self._carry_forward(anomaly * self._scale, known)
        return self._fill(values[:, -newest:], trust[:, -newest:]), values * trust

    def _carry_forward(self, values: Floats, known: Known) -> tuple[Floats, Floats]:
        """Return values (n, frame, channel, location) with the last known one in gaps, and the trust in each."""
        trust = known.astype(np.float32)
        if known.all():
            return values, trust
        values = values.copy()
        for frame in range(1, known.shape[1]):
            gap = ~known[:, frame]
            values[:, frame] = np.where(gap, values[:, frame - 1], values[:, frame])
            trust[:, frame] = np.where(gap, trust[:, frame - 1] * np.square(self._persistence), trust[:, frame])
        return values, trust

    def _fill(self, values: Floats, trust: Floats) -> Floats:
        """Return values (n, frame, channel, node); uncertain ones become the mean of neighbours, shrunk to 0."""
        near, padded, certain = self._neighbourhood.nearness, self._pad(values), self._pad(trust) == 1
        rows = np.flatnonzero(~certain.all((0, 1, 2)))
        if len(rows):
            mean = _apply(near[rows], trust * values) / (_apply(near[rows], trust) + np.float32(_PRIOR_WEIGHT))
            padded[..., rows] = np.where(certain[..., rows], padded[..., rows], mean)
        return padded

    def _support(self, trust: Floats) -> Floats:
        """Return the trust in the values of `_fill` (n, frame, channel, node): 1, or the mean trust of neighbours."""
        near = self._neighbourhood.nearness
        mean = _apply(near, trust) / near.sum(axis=1)
        return np.where(self._pad(trust) == 1, np.float32(1), mean)

    def _pad(self, values: Floats) -> Floats:
        """Return a copy of (n, frame, channel, location) with zeros appended for cells beyond the edge."""
        padding = self._neighbourhood.nearness.shape[0] - values.shape[-1]
        return np.pad(values, ((0, 0), (0, 0), (0, 0), (0, padding)))

    def _predictors(self, around: Floats, own: Floats, locations: NDArray[np.intp]) -> Floats:
        """Return rows (n * location, p): the newest frames by slot, then each location's own last day."""
        n, frames = len(around), self._depths[-1]
        newest = around[:, : -1 - frames : -1].reshape(n, -1, around.shape[-1]).transpose(0, 2, 1)
        x = np.empty((n, len(locations), self._size), np.float32)
        split = len(self._ring)
        x[..., :split] = newest.take(self._neighbourhood.neighbours[locations], axis=1).reshape(n, -1, split)
        ago = [-1 - lag for lag in self._own_lags]
        x[..., split:] = own[:, ago][..., locations].reshape(n, -1, len(locations)).transpose(0, 2, 1)
        return x.reshape(-1, self._size)

    def _columns(self, radius: int, depth: int, own: bool) -> NDArray[np.intp]:
        """Return the predictors within this radius and depth."""
        around = (self._ring <= radius) & (self._lag < depth)
        return np.flatnonzero(np.concatenate([around, np.full(self._size - len(around), own)]))

    def _common_units(self) -> Floats:
        """Return the spread of each location relative to that of all, (channel, location)."""
        # The floor of a climate is a fixed fraction of the overall spread.
        spread = self._fitted_climate().floor
        if self.task.grid is None:
            return np.ones_like(spread)
        scale: Floats = spread / np.sqrt(np.square(spread).mean(1, keepdims=True))
        return scale

    def _chunk_size(self, locations: int) -> int:
        return max(1, _MAX_VALUES // (max(locations, 1) * self._size))

    def _core_state(self) -> dict[str, NDArray[Any]]:
        return {
            "weights": self._weights,
            "choice": self._choice,
            "residual_deviation": self._residual,
            "scale": self._scale,
            "persistence": self._persistence,
        }

    def _load_core_state(self, state: State) -> None:
        channels, locations = len(self.task.channels), len(self.task.locations)
        self._weights = take(state, "weights", (self._size, self._outputs))
        # Earlier versions did not store it.
        self._choice = take(state, "choice", (4, self._outputs)) if "choice" in state else self._default_choice()
        self._residual = take(state, "residual_deviation", (self._outputs, locations))
        self._scale = take(state, "scale", (channels, locations))
        self._persistence = take(state, "persistence", (channels, 1))


def _apply(near: Any, values: Floats) -> Floats:
    """Apply a sparse (node, location) matrix to the last axis."""
    out: Floats = (near @ values.reshape(-1, values.shape[-1]).T).T.reshape(*values.shape[:-1], -1)
    return out


def _rows(outputs: NDArray[Any], used: NDArray[np.intp]) -> NDArray[Any]:
    """Return (n, lead, target, location) as rows (n * used, output)."""
    chosen = outputs[..., used]
    return chosen.reshape(len(outputs), -1, len(used)).transpose(0, 2, 1).reshape(len(outputs) * len(used), -1)


def _day_lags(task: Task, depth: int) -> tuple[int, ...]:
    """Return lags beyond those of the neighbourhood, within a day and the context."""
    day = _DAY // task.step_seconds
    lags = np.unique(np.linspace(depth, day - 1, _MAX_DAY_LAGS).astype(int)) if day > depth else np.zeros(0, int)
    return tuple(int(lag) for lag in lags if lag < task.context)


def _subsample(issues: NDArray[np.intp], most: float) -> NDArray[np.intp]:
    """Return a random sample of at most this many, which cannot alias with a cycle."""
    if len(issues) <= most:
        return issues
    chosen = np.random.default_rng(0).choice(issues, max(1, int(most)), replace=False)
    return np.sort(chosen)
