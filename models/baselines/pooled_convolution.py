"""One linear convolution for all cells, fitted by least squares in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.baselines.normal import NormalEquations
from models.baselines.stencil import stencil
from models.errors import ModelError
from models.statistics.lags import autocorrelation
from models.statistics.series import batches
from models.task import Inputs, Task, Windows

_DAY = 86_400
_RADII = (2, 3)
_LAGS = (2, 4)
_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_USUAL = 1e-3
# How many frames of the last day, beyond the newest ones, are predictors.
_OWN = 10
# Weight of the belief that an unknown anomaly is 0, against neighbours of weight 1.
_DOUBT = 0.05
# Prior weight, in frames, of the errors of all locations.
_POOLING = 30.0
# Issue frames that show what the convolution misses.
_JUDGES = 512
# Multiplications that each of fit and choice may cost, and numbers held at once.
_WORK = 1e11
_CHUNK = 1 << 24


class PooledConvolution(Baseline):
    """Each lead regressed on the last frames around a cell, with the same weights at every cell.

    On a grid the surroundings are squares of cells, and anomalies are in units common to all cells, since what moves
    with the flow keeps its value. Stations take their nearest neighbours in order of distance, in units of their own
    spread. For steps below a day the last day at the location itself is a predictor too. Validation chooses, for
    each lead and target, surroundings, lags, last day and ridge.

    What is missing is filled beforehand by normalised convolution (Knutsson and Westin 1993): the last known value
    of a location loses confidence with age, and a gap takes the mean of what surrounds it, weighted by confidence
    and nearness. Beyond the edge of a grid all is missing.

    Args:
        task: what to forecast.
        radius: rings of neighbours: 1, 2, 3 are squares of 3, 5, 7 cells or 4, 8, 16 stations; by default 2 or 3.
        lags: last frames whose surroundings are predictors; by default 2 or 4, as far as the context goes.

    Raises:
        ModelError: an option is out of range.
    """

    name: ClassVar[str] = "pooled-convolution"

    def __init__(self, task: Task, *, radius: int | None = None, lags: int | None = None) -> None:
        super().__init__(task)
        if radius is not None and not 1 <= radius <= 3:
            raise ModelError(f"pooled-convolution: radius must lie within 1..3, found {radius}")
        if lags is not None and not 1 <= lags <= task.context:
            raise ModelError(f"pooled-convolution: lags must lie within 1..{task.context}, found {lags}")
        self._given = {"radius": radius, "lags": lags}
        self._radii = _RADII if radius is None else (radius,)
        self._depths = tuple(sorted({min(lag, task.context) for lag in _LAGS})) if lags is None else (lags,)
        self._stencil = stencil(task, self._radii[-1])
        self._own = _own_lags(task, self._depths[-1])
        self._reach = max(self._depths[-1], *(lag + 1 for lag in self._own), 1)
        series = self._depths[-1] * len(task.channels)
        around = len(self._stencil.ring) * series
        self._size = around + len(self._own) * len(task.channels)
        self._outputs = task.leads * len(task.targets)
        # Of each predictor around: its ring and its lag. Slots follow each other, each with all lags and channels.
        self._ring = self._stencil.ring.repeat(series)
        self._lag = np.resize(np.arange(self._depths[-1]).repeat(len(task.channels)), around)

    def options(self) -> dict[str, Any]:
        """The constructor options, ready for JSON."""
        return dict(self._given)

    def _learn(self, anomaly: Floats, known: Known, validation: Windows) -> None:
        task, targets = self.task, list(self.task.target_channels)
        self._memory = np.clip(autocorrelation(anomaly, known, 1)[1].mean(-1, keepdims=True), 0, 1)
        self._scale = self._common_units()
        used = np.flatnonzero(known[:, targets].any((0, 1)))
        sums = NormalEquations(self._size, self._outputs, shared=bool(known[:, targets][:, :, used].all()))
        # A record is one long context.
        fields = [array[0] for array in self._fields(anomaly[None], known[None], len(known))]
        truth = anomaly[:, targets] * self._scale[targets], known[:, targets]
        issues = np.arange(self._reach - 1, len(anomaly) - task.leads)
        for x, y, seen in self._examples(fields, truth, _thinned(issues, _WORK / sums.cost / max(len(used), 1)), used):
            sums.add(x, y, seen)
        self._weights = self._choose(sums, validation, used)
        square, count = np.zeros((len(used), self._outputs)), np.zeros((len(used), self._outputs))
        for x, y, seen in self._examples(fields, truth, _thinned(issues, _JUDGES), used):
            error = np.where(seen, y - x @ self._weights, 0).reshape(-1, *square.shape)
            square, count = square + np.square(error).sum(0), count + seen.reshape(error.shape).sum(0)
        pooled = (square.sum(0) + 1e-6) / (count.sum(0) + 1e-6)
        self._left = np.sqrt(pooled).astype(np.float32)[:, None].repeat(len(task.locations), axis=1)
        self._left[:, used] = np.sqrt((square + _POOLING * pooled) / (count + _POOLING)).T

    def _examples(
        self, fields: list[Floats], truth: tuple[Floats, Known], issues: NDArray[np.intp], used: NDArray[np.intp]
    ) -> Iterator[tuple[Floats, Floats, Known]]:
        """Predictors, truths and which of these are known, for these issue frames of a record, some at a time."""
        size = self._rows_at_once(len(used))
        for start in range(0, len(issues), size):
            issue = issues[start : start + size, None]
            past, ahead = issue + np.arange(1 - self._reach, 1), issue + np.arange(1, self.task.leads + 1)
            x = self._predictors(fields[0][past[:, -self._depths[-1] :]], fields[1][past], used)
            yield x, _rows(truth[0][ahead], used), _rows(truth[1][ahead], used)

    def _choose(self, sums: NormalEquations, validation: Windows, used: NDArray[np.intp]) -> Floats:
        """Weights (p, output): of each output those with the least error on validation."""
        if not len(validation):
            usual: Floats = sums.solve(np.arange(self._size), (_USUAL,))[0]
            return usual
        kinds = product(self._radii, self._depths, (True, False) if self._own else (False,))
        tried = np.concatenate([sums.solve(self._columns(*kind), _RIDGES) for kind in kinds])
        flat = tried.transpose(1, 0, 2).reshape(self._size, -1)
        loss = np.zeros((len(tried), self._outputs))
        most = max(1, int(_WORK / flat.size / max(len(used), 1)))
        targets = list(self.task.target_channels)
        for batch in batches(validation, size=min(256, self._rows_at_once(len(used))), most=most):
            anomaly, known = self.anomalies(batch.inputs)
            x = self._predictors(*self._fields(anomaly, known, self._depths[-1]), used)
            truth, there = self.target_anomalies(batch)
            y, seen = _rows(truth * self._scale[targets], used), _rows(there, used)
            for number in range(len(tried)):
                loss[number] += np.square(np.where(seen, y - x @ tried[number], 0)).sum(0)
        # In one order in memory, so that a saved model forecasts the same bits.
        return np.ascontiguousarray(tried[loss.argmin(0), :, np.arange(self._outputs)].T)

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """What the convolution gives; the deviation grows from what it left to 1 as its inputs are less known."""
        task, targets = self.task, list(self.task.target_channels)
        places = np.arange(len(task.locations))
        form = (-1, len(places), task.leads, len(targets))
        mean = np.empty((len(anomaly), *form[2:], form[1]), np.float32)
        deviation = np.empty_like(mean)
        influence = np.abs(self._weights) / np.maximum(np.abs(self._weights).sum(0), 1e-6)
        left = np.minimum(self._left.reshape(task.leads, len(targets), -1) / self._scale[targets], 1)
        size = self._rows_at_once(len(places))
        for start in range(0, len(anomaly), size):
            part = slice(start, start + size)
            x = self._predictors(*self._fields(anomaly[part], known[part], self._depths[-1]), places)
            mean[part] = (x @ self._weights).reshape(form).transpose(0, 2, 3, 1) / self._scale[targets]
            share = np.float32(1.0)
            if not known[part].all():
                trust = self._carried(anomaly[part], known[part])[1]
                heard = self._predictors(self._supported(trust[:, -self._depths[-1] :]), trust, places) @ influence
                share = np.clip(heard, 0, 1).reshape(form).transpose(0, 2, 3, 1)
            deviation[part] = np.sqrt(1 - share * (1 - np.square(left)))
        return mean, deviation

    def _fields(self, anomaly: Floats, known: Known, newest: int) -> tuple[Floats, Floats]:
        """In common units: the newest frames (n, frame, channel, place) without gaps, and all of each location."""
        values, trust = self._carried(anomaly * self._scale, known)
        return self._filled(values[:, -newest:], trust[:, -newest:]), values * trust

    def _carried(self, values: Floats, known: Known) -> tuple[Floats, Floats]:
        """Values (n, frame, channel, location) with the last known one in gaps, and how far each is trusted."""
        trust = known.astype(np.float32)
        if known.all():
            return values, trust
        values = values.copy()
        for frame in range(1, known.shape[1]):
            gap = ~known[:, frame]
            values[:, frame] = np.where(gap, values[:, frame - 1], values[:, frame])
            trust[:, frame] = np.where(gap, trust[:, frame - 1] * np.square(self._memory), trust[:, frame])
        return values, trust

    def _filled(self, values: Floats, trust: Floats) -> Floats:
        """Values (n, frame, channel, place), where not fully trusted the mean of what is near, drawn towards 0."""
        near, padded, certain = self._stencil.nearness, self._padded(values), self._padded(trust) == 1
        rows = np.flatnonzero(~certain.all((0, 1, 2)))
        if len(rows):
            mean = _apply(near[rows], trust * values) / (_apply(near[rows], trust) + np.float32(_DOUBT))
            padded[..., rows] = np.where(certain[..., rows], padded[..., rows], mean)
        return padded

    def _supported(self, trust: Floats) -> Floats:
        """How far each of `_filled` is known (n, frame, channel, place): 1, or the mean trust in what is near."""
        near = self._stencil.nearness
        mean = _apply(near, trust) / near.sum(axis=1)
        return np.where(self._padded(trust) == 1, np.float32(1), mean)

    def _padded(self, values: Floats) -> Floats:
        """A copy of (n, frame, channel, location) with 0 for the places beyond the edge."""
        beyond = self._stencil.nearness.shape[0] - values.shape[-1]
        return np.pad(values, ((0, 0), (0, 0), (0, 0), (0, beyond)))

    def _predictors(self, around: Floats, own: Floats, places: NDArray[np.intp]) -> Floats:
        """Rows (n * place, p): the newest frames around, slot by slot, then each location's own last day."""
        n, frames = len(around), self._depths[-1]
        newest = around[:, : -1 - frames : -1].reshape(n, -1, around.shape[-1]).transpose(0, 2, 1)
        x = np.empty((n, len(places), self._size), np.float32)
        split = len(self._ring)
        x[..., :split] = np.ascontiguousarray(newest)[:, self._stencil.neighbours[places]].reshape(n, -1, split)
        ago = [-1 - lag for lag in self._own]
        x[..., split:] = own[:, ago][..., places].reshape(n, -1, len(places)).transpose(0, 2, 1)
        return x.reshape(-1, self._size)

    def _columns(self, radius: int, depth: int, own: bool) -> NDArray[np.intp]:
        """Which predictors lie within this radius and depth."""
        around = (self._ring <= radius) & (self._lag < depth)
        return np.flatnonzero(np.concatenate([around, np.full(self._size - len(around), own)]))

    def _common_units(self) -> Floats:
        """Deviation of each location against that of all: (channel, location)."""
        # The floor of a climate is a fixed share of the overall spread.
        spread = self._known_climate().floor
        if self.task.grid is None:
            return np.ones_like(spread)
        scale: Floats = spread / np.sqrt(np.square(spread).mean(1, keepdims=True))
        return scale

    def _rows_at_once(self, places: int) -> int:
        return max(1, _CHUNK // (max(places, 1) * self._size))

    def _learnt(self) -> dict[str, NDArray[Any]]:
        return {"weights": self._weights, "left": self._left, "scale": self._scale, "memory": self._memory}

    def _restore(self, state: State) -> None:
        channels, places = len(self.task.channels), len(self.task.locations)
        self._weights = take(state, "weights", (self._size, self._outputs))
        self._left = take(state, "left", (self._outputs, places))
        self._scale = take(state, "scale", (channels, places))
        self._memory = take(state, "memory", (channels, 1))


def _apply(near: Any, values: Floats) -> Floats:
    """A sparse (place, location) matrix on the last axis."""
    out: Floats = (near @ values.reshape(-1, values.shape[-1]).T).T.reshape(*values.shape[:-1], -1)
    return out


def _rows(outputs: NDArray[Any], used: NDArray[np.intp]) -> NDArray[Any]:
    """(n, lead, target, location) as rows (n * used, output)."""
    chosen = outputs[..., used]
    return chosen.reshape(len(outputs), -1, len(used)).transpose(0, 2, 1).reshape(len(outputs) * len(used), -1)


def _own_lags(task: Task, depth: int) -> tuple[int, ...]:
    """Frames ago, beyond the surroundings and within a day and the context."""
    day = _DAY // task.step_seconds
    lags = np.unique(np.linspace(depth, day - 1, _OWN).astype(int)) if day > depth else np.zeros(0, int)
    return tuple(int(lag) for lag in lags if lag < task.context)


def _thinned(issues: NDArray[np.intp], most: float) -> NDArray[np.intp]:
    """At most this many, without a rhythm that a cycle could fall in with."""
    if len(issues) <= most:
        return issues
    chosen = np.random.default_rng(0).choice(issues, max(1, int(most)), replace=False)
    return np.sort(chosen)
