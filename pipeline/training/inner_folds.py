"""Inner folds: rolling origins before the held-out period of the gate, on which options are searched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.errors import NoDataError
from pipeline.features.snapshot import Snapshot
from pipeline.training.folds import FEWEST, HELD_OUT, Fold, Folds, matured_by, most_scored, rolling

NUMBER = 3
"""Inner folds, so that no choice rests on a single period."""


@dataclass(frozen=True)
class InnerFolds:
    """Folds whose data were all known when the held-out period of the gate began.

    Models are fitted to the train and validation parts of a fold, and scored on its held-out part, which lies before
    that of the gate.
    """

    snapshot: Snapshot
    """The data as known by then."""
    folds: tuple[Fold, ...]

    @property
    def scored(self) -> tuple[datetime, ...]:
        """The issue times that options are scored on, of all folds."""
        return tuple(issue for fold in self.folds for issue in fold.holdout)

    @property
    def smallest_training_set(self) -> int:
        """Fewest issue times that a fold trains on."""
        return min(len(fold.train) for fold in self.folds)


def split_inner(snapshot: Snapshot, folds: Folds) -> InnerFolds:
    """Return three folds before the first held-out issue time of `folds`.

    Their scored parts follow each other and cover up to three years, at most half of that record. Nothing that became
    known later can be read: neither the held-out truth nor later corrections of earlier values.

    Raises:
        NoDataError: there are too few issue times.
    """
    product, cadence, end = snapshot.product, snapshot.cadence, folds.holdout[0]
    before = matured_by(list(folds.matured), cadence, end)
    if len(before) < FEWEST:
        raise NoDataError(
            f"{product.name}: {len(before)} issue times precede the held-out period, a search needs at least {FEWEST}; "
            "load more history"
        )
    length = min(NUMBER * HELD_OUT, (before[-1] - before[0]) / 2)
    inner = rolling(product, cadence, before, length, NUMBER, most_scored(snapshot))
    return InnerFolds(replace(snapshot, known_by=end), tuple(inner))
