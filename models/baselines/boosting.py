"""Gradient boosting by LightGBM, pooled over all locations."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.base import State, prefixed, scoped, take
from models.baselines.base import Floats, Known
from models.baselines.features import FeatureBuilder, Index, geographic_order, usable_cycles
from models.baselines.reference import DampedAnomaly
from models.baselines.trees import BoostedTrees, fit_trees, import_lightgbm
from models.errors import ModelError
from models.search_space import FloatRange, IntRange, SearchSpace
from models.statistics.covariates import Covariates
from models.statistics.lags import latest
from models.statistics.series import Series
from models.task import Batch, Inputs, Task, Windows

_DAY = 86_400
# Maximum number of rows, and of input values, in memory.
_MAX_ROWS = 100_000
_MAX_VALUES = 4_000_000
# Number of windows to sample before locations are sampled too.
_MAX_WINDOWS = 500
# Share of the training windows with a simulated outage.
_OUTAGE_RATE = 0.125


class GradientBoosting(DampedAnomaly):
    """The damped anomaly plus boosted trees on all locations, the calendar and covariates.

    The trees are shared by all locations (see `FeatureBuilder` for the features) and fitted to the residuals of the
    damped anomaly. Leads form groups 1, 2, 3-4, 5-8, ...; the trees of a group have the lead as a feature, and their
    number is chosen by cross-validation over quarters of the record. If a group has more than `rows` values, windows
    and locations are sampled. Some windows get a simulated outage, so that the trees learn to handle gaps.

    Args:
        task: what to forecast.
        rounds: maximum number of trees per group.
        leaves: maximum number of leaves per tree.
        learning_rate: shrinkage of each tree.
        lags: number of the location's latest frames that are features; by default 3 for daily and slower data, 6 for
            faster data.
        rows: maximum number of training rows per group.

    Raises:
        ModelError: an option is out of range, or LightGBM cannot be imported.
    """

    name: ClassVar[str] = "gradient-boosting"
    max_errors: ClassVar[int] = 1_000_000

    def __init__(
        self,
        task: Task,
        *,
        rounds: int = 600,
        leaves: int = 15,
        learning_rate: float = 0.03,
        lags: int | None = None,
        rows: int = 200_000,
    ) -> None:
        super().__init__(task)
        for field, value, lowest in (("rounds", rounds, 1), ("leaves", leaves, 2), ("rows", rows, 1)):
            if value < lowest:
                raise ModelError(f"{self.name}: {field} must be at least {lowest}, found {value}")
        if not 0 < learning_rate <= 1:
            raise ModelError(f"{self.name}: learning_rate must lie within (0, 1], found {learning_rate}")
        if lags is not None and not 1 <= lags <= task.context:
            raise ModelError(f"{self.name}: lags must lie within 1..{task.context}, found {lags}")
        import_lightgbm()
        self._options: dict[str, Any] = {
            "rounds": rounds,
            "leaves": leaves,
            "learning_rate": learning_rate,
            "lags": lags,
            "rows": rows,
        }
        self._builder = FeatureBuilder.of(task, _default_lags(task) if lags is None else lags)
        self._groups = _groups(task.leads)
        self._covariates = Covariates(task)
        self._calendar = np.zeros(6, bool)
        self._trees: dict[str, BoostedTrees] = {}

    @classmethod
    def search_space(cls, task: Task) -> SearchSpace:
        """Return the size of the trees, their shrinkage, how many there may be, and the lags."""
        return {
            "rounds": IntRange(100, 1600, log=True),
            "leaves": IntRange(4, 63, log=True),
            "learning_rate": FloatRange(0.01, 0.2, log=True),
            "lags": IntRange(1, min(24, task.context)),
        }

    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON."""
        return dict(self._options)

    @property
    def parameters(self) -> int:
        """Number of learnt values; those of a tree are its leaves and thresholds."""
        texts = sum(trees.text.size for trees in self._trees.values())
        return super().parameters - texts + sum(trees.parameters for trees in self._trees.values())

    def _fit_record(self, record: Series, train: Windows, chooser: Windows | Self) -> None:
        super()._fit_record(record, train, chooser)
        self._covariates.fit(train)
        self._calendar = usable_cycles(self.task, record.days)
        options = {name: self._options[name] for name in ("rounds", "leaves", "learning_rate")}
        for position in range(len(self.task.targets)):
            for number, group in enumerate(self._groups):
                key = _key(position, number)
                count = chooser._trees[key].count if isinstance(chooser, GradientBoosting) else None
                self._trees[key] = fit_trees(*self._sample(train, position, group), **options, count=count)

    def _sample(self, windows: Windows, position: int, group: Index) -> tuple[Floats, Floats]:
        """Return features (row, feature) and residuals of the damped anomaly (row,), at most about `rows` of them."""
        order = geographic_order(self.task)
        rng = np.random.default_rng(0)
        most = self._options["rows"] // len(group)
        locations = int(np.clip(most // min(len(windows), _MAX_WINDOWS), 1, len(order)))
        count = int(np.clip(most // locations, 1, len(windows)))
        # A random sample, since evenly spaced windows may all have the same hour.
        index = rng.permutation(len(windows))[:count]
        width = self.task.context * len(self.task.channels) * len(order)
        size = max(1, min(_MAX_ROWS // (len(group) * locations), _MAX_VALUES // width))
        parts = []
        for start in range(0, count, size):
            chosen = np.sort(index[start : start + size])
            few = order[np.sort(rng.permutation(len(order))[:locations])]
            batch = windows.batch(chosen)
            x, y, row = self._examples(batch, ~self._outages(rng, len(chosen)), position, group, few)
            parts.append((x, y, chosen[row]))
        x, y, issue = (np.concatenate(column) for column in zip(*parts, strict=True))
        by_time = np.argsort(issue, kind="stable")
        return x[by_time], y[by_time]

    def _examples(
        self, batch: Batch, available: Known, position: int, group: Index, locations: Index
    ) -> tuple[Floats, Floats, Index]:
        """Return features, residual of the damped anomaly and position of the window for each observed value."""
        anomaly, known = self.anomalies(batch.inputs)
        known = known & available
        anomaly = np.where(known, anomaly, np.float32(0.0))
        base, _ = super().core(batch.inputs, anomaly, known)
        truth, observed = self.target_anomalies(batch)
        x = self._features(batch.inputs, anomaly, known, base, position, group, locations)
        cut = np.ix_(np.arange(len(truth)), group, np.array([position]), locations)
        selected = observed[cut][:, :, 0]
        return x[selected], (truth - base)[cut][:, :, 0][selected], np.nonzero(selected)[0]

    def _outages(self, rng: np.random.Generator, windows: int) -> Known:
        """Return simulated outages (n, context, 1, location): the latest frames of random locations."""
        task = self.task
        frames = rng.integers(1, task.context + 1, windows) * (rng.random(windows) < _OUTAGE_RATE)
        share = rng.random((windows, 1)) * 2
        affected = np.empty((windows, len(task.locations)), bool)
        affected[:, geographic_order(task)] = rng.random(affected.shape) < share
        age = np.arange(task.context)[::-1]
        return ((age < frames[:, None])[:, :, None] & affected[:, None])[:, :, None]

    def _features(
        self, inputs: Inputs, anomaly: Floats, known: Known, base: Floats, position: int, leads: Index, locations: Index
    ) -> Floats:
        target = self.task.target_channels[position]
        _, age = latest(anomaly[:, :, [target]], known[:, :, [target]])
        covariates, mask = self._covariates(inputs)
        return self._builder(
            inputs,
            anomaly,
            known,
            base[:, :, position],
            age[:, 0].astype(np.float32),
            np.where(mask, covariates, np.float32(np.nan)),
            self._calendar,
            target=target,
            leads=leads,
            locations=locations,
        )

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Return the damped anomaly plus the trees' correction, and the standard deviation of the damped anomaly."""
        base, deviation = super().core(inputs, anomaly, known)
        mean = base.copy()
        every = np.arange(len(self.task.locations))
        size = max(1, _MAX_ROWS // (self.task.leads * len(every)))
        for number, few in enumerate(inputs.chunks(size)):
            part = slice(number * size, (number + 1) * size)
            for position in range(len(self.task.targets)):
                for index, group in enumerate(self._groups):
                    x = self._features(few, anomaly[part], known[part], base[part], position, group, every)
                    correction = self._trees[_key(position, index)](x.reshape(-1, x.shape[-1]))
                    mean[part, group, position] += correction.reshape(x.shape[:-1])
        return mean, deviation

    def _core_state(self) -> dict[str, NDArray[Any]]:
        texts = {key: trees.text for key, trees in self._trees.items()}
        rest = {"calendar": self._calendar, **prefixed("covariates", self._covariates.state())}
        return {**super()._core_state(), **rest, **texts}

    def _load_core_state(self, state: State) -> None:
        super()._load_core_state(state)
        self._covariates.load_state(scoped("covariates", state))
        self._calendar = take(state, "calendar", (6,))
        keys = [
            _key(position, group) for position in range(len(self.task.targets)) for group in range(len(self._groups))
        ]
        self._trees = {key: BoostedTrees(take(state, key)) for key in keys}


def _default_lags(task: Task) -> int:
    return min(task.context, 3 if task.step_seconds >= _DAY else 6)


def _groups(leads: int) -> list[Index]:
    """Return positions on the lead axis of the groups 1, 2, 3-4, 5-8 and so on."""
    edges = [0] + [2**power for power in range(leads.bit_length()) if 2**power < leads] + [leads]
    return [np.arange(first, last) for first, last in pairwise(edges)]


def _key(position: int, group: int) -> str:
    return f"trees{position}.{group}"
