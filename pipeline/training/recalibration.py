"""Scores on held-out issue times as they would have been served: corrected by the coverage known at the time.

A retrain follows the coverage of the held-out forecasts, and the correction serves beside the model until the next one.
Here these nights are repeated: the forecasts of a day are corrected by what had matured when it began, nothing later.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from models.base import Model
from models.statistics.conformal import QuantileTracker, Recalibration, target_limits
from pipeline.features.snapshot import Snapshot
from pipeline.training.evaluate import Evaluation, Forecasts, concatenate, forecast_checked, published_truth, score
from pipeline.training.folds import Folds

NIGHT = timedelta(days=1)
"""Time from one correction to the next: that between retrains."""
_MAX_LOCATIONS = 256
"""Locations that coverage is learnt from, evenly spread: on a large grid, neighbours add little but memory."""


@dataclass(frozen=True)
class Recalibrations:
    """The corrections of one recipe over the held-out period."""

    since: tuple[datetime, ...]
    """First issue time of each of `applied`, ascending."""
    applied: tuple[Recalibration, ...]
    newest: Recalibration
    """Learnt from all held-out forecasts; it serves until the next retrain."""

    def at(self, issue_time: datetime) -> Recalibration:
        """Return the correction that applied to a held-out issue time."""
        return self.applied[bisect_right(self.since, issue_time) - 1]


def score_recalibrated(models: Sequence[Model], snapshot: Snapshot, folds: Folds) -> tuple[Evaluation, Recalibrations]:
    """Score models, one per fold, on all held-out issue times, and return the corrections that applied.

    A correction is learnt from forecasts whose observations were all due when its day began, as they were known then.
    The first day has none. Only what fulfils the contract of forecasts is corrected: a correction orders quantiles and
    keeps them within limits, so a broken model would get a score for forecasts that never serve.

    Raises:
        ModelError: a model cannot forecast its issue times, or breaks the contract of forecasts.
    """
    task, maturing = snapshot.task, _MaturingForecasts(snapshot, folds.issues_per_step)
    scores: list[Evaluation] = []
    since: list[datetime] = []
    applied: list[Recalibration] = []
    night = -1
    for number, issues, part in _by_night(models, snapshot, folds):
        if number != night:
            night = number
            since.append(issues[0])
            applied.append(maturing.learn(issues[0]))
        corrected = applied[-1](part.quantiles, part.valid_time, target_limits(task))
        scores.append(score(corrected, part.truth, task.quantile_levels))
        maturing.add(issues, applied[-1].shifted(part.quantiles, part.valid_time), part.valid_time)
    return concatenate(scores), Recalibrations(tuple(since), tuple(applied), maturing.learn(snapshot.known_by))


def score_without_locations(
    models: Sequence[Model],
    snapshot: Snapshot,
    folds: Folds,
    recalibrations: Recalibrations,
    withheld: NDArray[np.bool_],
) -> Evaluation:
    """Score models as `score_recalibrated` does, with the input of locations withheld (location,).

    The corrections are those of the complete input: an outage begins without notice.

    Raises:
        ModelError: a model cannot forecast its issue times, or breaks the contract of forecasts.
    """
    task = snapshot.task
    return concatenate(
        [
            score(
                recalibrations.at(issues[0])(part.quantiles, part.valid_time, target_limits(task)),
                part.truth,
                task.quantile_levels,
            )
            for _, issues, part in _by_night(models, snapshot, folds, withheld=withheld)
        ]
    )


def _by_night(
    models: Sequence[Model], snapshot: Snapshot, folds: Folds, *, withheld: NDArray[np.bool_] | None = None
) -> Iterator[tuple[int, list[datetime], Forecasts]]:
    """Yield the held-out forecasts in order: the number of the night before, the issue times, and the forecasts."""
    first = folds.holdout[0]
    for model, fold in zip(models, folds.folds, strict=True):
        for chunk in forecast_checked(model, fold.windows(snapshot, "holdout"), withheld=withheld):
            issues = [fold.holdout[index] for index in chunk.numbers]
            numbers = [(issue - first) // NIGHT for issue in issues]
            for number, members in groupby(range(len(issues)), key=numbers.__getitem__):
                some = list(members)
                part = slice(some[0], some[-1] + 1)
                yield number, issues[part], chunk.part(part)


class _MaturingForecasts:
    """Shifted forecasts that wait for their observations, of a sample of the locations."""

    def __init__(self, snapshot: Snapshot, issues_per_step: float) -> None:
        count = len(snapshot.locations)
        self._snapshot = snapshot
        self._sample = np.unique(np.linspace(0, count - 1, min(count, _MAX_LOCATIONS)).astype(np.intp))
        self._tracker = QuantileTracker(snapshot.task, snapshot.cadence.horizon, issues_per_step)
        self._waiting: list[tuple[datetime, NDArray[np.float32], NDArray[np.datetime64]]] = []

    def add(self, issues: Sequence[datetime], shifted: NDArray[np.float32], valid_time: NDArray[np.datetime64]) -> None:
        """Add shifted forecasts (issue, lead, target, location, quantile) for valid times (issue, lead)."""
        self._waiting += zip(issues, shifted[:, :, :, self._sample], valid_time, strict=True)

    def learn(self, now: datetime) -> Recalibration:
        """Return the correction learnt from the forecasts whose observations are all due, as known now."""
        cadence = self._snapshot.cadence
        due = bisect_right(self._waiting, now, key=lambda one: cadence.lead_times(one[0])[-1] + cadence.delay)
        if due:
            issues, shifted, valid_time = zip(*self._waiting[:due], strict=True)
            windows = self._snapshot.windows(issues, truth_at=now)
            truth = published_truth(windows, np.arange(due))[..., self._sample]
            self._tracker.update(np.stack(shifted), truth, np.stack(valid_time))
            self._waiting = self._waiting[due:]
        return self._tracker.recalibration()
