"""Gradient boosting by LightGBM, pooled over all locations."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.base import State, prefixed, scoped, take
from models.baselines.base import Floats, Known
from models.baselines.plain import DampedAnomaly
from models.baselines.rows import Index, Rows, canonical, told
from models.baselines.trees import Trees, grow, library
from models.errors import ModelError
from models.statistics.covariates import Covariates
from models.statistics.lags import latest
from models.statistics.series import Series
from models.task import Batch, Inputs, Task, Windows

_DAY = 86_400
# Rows and values of inputs that are in memory at once.
_ROWS = 100_000
_VALUES = 4_000_000
# Rather fewer locations of each than fewer windows.
_WINDOWS = 500
# Share of the training windows in which a part of the network falls silent.
_SILENT = 0.125


class GradientBoosting(DampedAnomaly):
    """The damped anomaly plus what boosted trees see in the whole network, the calendar and covariates.

    Trees are shared by all locations (see `Rows` for what they look at) and fitted to the squared error that
    the damped anomaly leaves. Leads go in groups 1, 2, 3-4, 5-8, ...: trees of a group share the lead as a
    feature, and are as many as cross-validation over quarters of the record asks for. Where that has more than
    `rows` values a group, windows and locations are drawn from it; in some windows a part of the network is made
    to fall silent, so that silence is learnt too.

    Args:
        task: what to forecast.
        rounds: most trees a group.
        leaves: most leaves a tree.
        learning_rate: what each tree adds of what it learnt.
        lags: own last frames that are features; by default 3 for daily and slower data, 6 for faster data.
        rows: most rows that the trees of a group learn from.

    Raises:
        ModelError: an option is out of range, or LightGBM cannot be loaded.
    """

    name: ClassVar[str] = "gradient-boosting"
    most_errors: ClassVar[int] = 1_000_000

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
        for field, value, least in (("rounds", rounds, 1), ("leaves", leaves, 2), ("rows", rows, 1)):
            if value < least:
                raise ModelError(f"{self.name}: {field} must be at least {least}, found {value}")
        if not 0 < learning_rate <= 1:
            raise ModelError(f"{self.name}: learning_rate must lie within (0, 1], found {learning_rate}")
        if lags is not None and not 1 <= lags <= task.context:
            raise ModelError(f"{self.name}: lags must lie within 1..{task.context}, found {lags}")
        library()
        self._given: dict[str, Any] = {
            "rounds": rounds,
            "leaves": leaves,
            "learning_rate": learning_rate,
            "lags": lags,
            "rows": rows,
        }
        self._rows = Rows.of(task, _usual_lags(task) if lags is None else lags)
        self._groups = _groups(task.leads)
        self._covariates = Covariates(task)
        self._calendar = np.zeros(6, bool)
        self._trees: dict[str, Trees] = {}

    def options(self) -> dict[str, Any]:
        """The constructor options, ready for JSON."""
        return dict(self._given)

    @property
    def parameters(self) -> int:
        """How many numbers the model has learnt: of a tree its leaves and thresholds."""
        texts = sum(trees.text.size for trees in self._trees.values())
        return super().parameters - texts + sum(trees.parameters for trees in self._trees.values())

    def _study(self, record: Series, train: Windows, validation: Windows) -> None:
        super()._study(record, train, validation)
        self._covariates.fit(train)
        self._calendar = told(self.task, record.days)
        how = {name: self._given[name] for name in ("rounds", "leaves", "learning_rate")}
        for position in range(len(self.task.targets)):
            for number, group in enumerate(self._groups):
                self._trees[_key(position, number)] = grow(*self._sampled(train, position, group), **how)

    def _sampled(self, windows: Windows, position: int, group: Index) -> tuple[Floats, Floats]:
        """Features (row, feature) and what the damped anomaly leaves (row,), at most about `rows` of them."""
        order = canonical(self.task)
        rng = np.random.default_rng(0)
        most = self._given["rows"] // len(group)
        places = int(np.clip(most // min(len(windows), _WINDOWS), 1, len(order)))
        count = int(np.clip(most // places, 1, len(windows)))
        # At random: evenly spread windows may be all of one hour, and windows side by side tie places to times.
        index = rng.permutation(len(windows))[:count]
        width = self.task.context * len(self.task.channels) * len(order)
        size = max(1, min(_ROWS // (len(group) * places), _VALUES // width))
        parts = []
        for start in range(0, count, size):
            chosen = np.sort(index[start : start + size])
            few = order[np.sort(rng.permutation(len(order))[:places])]
            batch = windows.batch(chosen)
            x, y, row = self._pairs(batch, ~self._silence(rng, len(chosen)), position, group, few)
            parts.append((x, y, chosen[row]))
        x, y, issue = (np.concatenate(column) for column in zip(*parts, strict=True))
        by_time = np.argsort(issue, kind="stable")
        return x[by_time], y[by_time]

    def _pairs(
        self, batch: Batch, heard: Known, position: int, group: Index, places: Index
    ) -> tuple[Floats, Floats, Index]:
        """Features, what the damped anomaly leaves and which window it was, of each observed value."""
        anomaly, known = self.anomalies(batch.inputs)
        known = known & heard
        anomaly = np.where(known, anomaly, np.float32(0.0))
        base, _ = super().core(batch.inputs, anomaly, known)
        truth, observed = self.target_anomalies(batch)
        x = self._features(batch.inputs, anomaly, known, base, position, group, places)
        cut = np.ix_(np.arange(len(truth)), group, np.array([position]), places)
        wanted = observed[cut][:, :, 0]
        return x[wanted], (truth - base)[cut][:, :, 0][wanted], np.nonzero(wanted)[0]

    def _silence(self, rng: np.random.Generator, windows: int) -> Known:
        """Where (n, context, 1, location) the network is made to fall silent: some last frames, here and there."""
        task = self.task
        frames = rng.integers(1, task.context + 1, windows) * (rng.random(windows) < _SILENT)
        share = rng.random((windows, 1)) * 2
        struck = np.empty((windows, len(task.locations)), bool)
        struck[:, canonical(task)] = rng.random(struck.shape) < share
        age = np.arange(task.context)[::-1]
        return ((age < frames[:, None])[:, :, None] & struck[:, None])[:, :, None]

    def _features(
        self, inputs: Inputs, anomaly: Floats, known: Known, base: Floats, position: int, leads: Index, places: Index
    ) -> Floats:
        target = self.task.target_channels[position]
        _, age = latest(anomaly[:, :, [target]], known[:, :, [target]])
        ahead, said = self._covariates(inputs)
        return self._rows(
            inputs,
            anomaly,
            known,
            base[:, :, position],
            age[:, 0].astype(np.float32),
            np.where(said, ahead, np.float32(np.nan)),
            self._calendar,
            target=target,
            leads=leads,
            places=places,
        )

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """The damped anomaly and the trees' correction; the deviation is the damped anomaly's."""
        base, deviation = super().core(inputs, anomaly, known)
        mean = base.copy()
        every = np.arange(len(self.task.locations))
        size = max(1, _ROWS // (self.task.leads * len(every)))
        for number, few in enumerate(inputs.chunks(size)):
            part = slice(number * size, (number + 1) * size)
            for position in range(len(self.task.targets)):
                for index, group in enumerate(self._groups):
                    x = self._features(few, anomaly[part], known[part], base[part], position, group, every)
                    found = self._trees[_key(position, index)](x.reshape(-1, x.shape[-1]))
                    mean[part, group, position] += found.reshape(x.shape[:-1])
        return mean, deviation

    def _learnt(self) -> dict[str, NDArray[Any]]:
        texts = {key: trees.text for key, trees in self._trees.items()}
        rest = {"calendar": self._calendar, **prefixed("covariates", self._covariates.state())}
        return {**super()._learnt(), **rest, **texts}

    def _restore(self, state: State) -> None:
        super()._restore(state)
        self._covariates.load_state(scoped("covariates", state))
        self._calendar = take(state, "calendar", (6,))
        keys = [
            _key(position, group) for position in range(len(self.task.targets)) for group in range(len(self._groups))
        ]
        self._trees = {key: Trees(take(state, key)) for key in keys}


def _usual_lags(task: Task) -> int:
    return min(task.context, 3 if task.step_seconds >= _DAY else 6)


def _groups(leads: int) -> list[Index]:
    """Positions on the lead axis: leads 1, 2, 3-4, 5-8 and so on."""
    edges = [0] + [2**power for power in range(leads.bit_length()) if 2**power < leads] + [leads]
    return [np.arange(first, last) for first, last in pairwise(edges)]


def _key(position: int, group: int) -> str:
    return f"trees{position}.{group}"
