"""The time limit of a retrain, and how it is shared among the models."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta

from pipeline.training.cost import Cost
from pipeline.training.folds import Folds

RECORDING = 8.0
"""Seconds to write bundles and to register them in MLflow."""
RECORDING_SHARE = 0.15
"""Largest share of the budget that is set aside for that."""
SCORINGS = 5
"""Times that the held-out issue times are forecast again: by two challengers without some stations, by the former fit,
and as many as twice to explain the model that serves."""
CHECKED = 200
"""Newest held-out issue times on which a fit on all data is compared with the judged fit."""
BASELINE_SHARE = 3 / 4
"""Largest share of what is left that one baseline may take; the costly ones come last, and are bases of networks."""


class Budget:
    """What is left of the time for a retrain, from its start to the recorded decision."""

    def __init__(self, length: timedelta) -> None:
        self.seconds = length.total_seconds()
        self._ends = time.monotonic() + self.seconds

    @property
    def left(self) -> float:
        """Seconds left; negative after the end."""
        return self._ends - time.monotonic()

    @property
    def recording(self) -> float:
        """Seconds set aside to record the decision."""
        return min(RECORDING, RECORDING_SHARE * self.seconds)

    def for_fits(self, fitted: Iterable[Cost], baselines: Iterable[Cost], folds: Folds) -> float:
        """Return the seconds left for fits once everything that follows them has its time.

        Args:
            fitted: Costs of the models fitted so far, whose held-out forecasts are to be scored.
            baselines: Costs of the baselines among them, which are to be fitted again on all data.
            folds: The issue times.
        """
        forecasts = [cost.issue for cost in fitted]
        scoring = (sum(forecasts) + SCORINGS * max(forecasts, default=0.0)) * len(folds.holdout)
        return self.after_refit(baselines, folds) - scoring - max(forecasts, default=0.0) * _checks(folds)

    def for_refit(self, model: Cost, baselines: Iterable[Cost], folds: Folds) -> float:
        """Return the seconds left to fit the model that serves on all data.

        Its checks, the scores of the fit before it, and the baselines beside it follow.
        """
        return self.after_refit(baselines, folds) - model.issue * (_checks(folds) + len(folds.holdout))

    def after_refit(self, baselines: Iterable[Cost], folds: Folds) -> float:
        """Return the seconds left once these baselines are fitted on all data and the decision is recorded."""
        return self.left - sum(cost.fit for cost in baselines) * refit_ratio(folds) - self.recording


def candidate_share(seconds: float, remaining: int, folds: Folds) -> float:
    """Return the share of a candidate in the seconds left for `remaining` of them and the refit of one."""
    return max(0.0, seconds) / (remaining + refit_ratio(folds) / len(folds.folds))


def refit_ratio(folds: Folds) -> float:
    """Return how many times as long a fit on all data takes as one on the newest fold, about."""
    newest = folds.newest
    return len(folds.matured) / max(1, len(newest.train))


def _checks(folds: Folds) -> int:
    """Return the number of forecasts that are made to compare a fit on all data with the judged fit."""
    return 2 * min(CHECKED, len(folds.newest.holdout))
