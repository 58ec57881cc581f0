"""How many observations lay inside each central interval, by lead and variable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.training.metrics import intervals, nominal_coverages


@dataclass(frozen=True)
class IntervalCounts:
    """Counts of observations by interval, the widest first. Counts add up, and take little memory on large grids."""

    nominal: tuple[float, ...]
    """Nominal probability of each interval."""
    inside: NDArray[np.int64]
    """(interval, lead, target), observations inside."""
    known: NDArray[np.int64]
    """(lead, target), all observations."""

    @classmethod
    def of(
        cls, quantiles: NDArray[np.float32], truth: NDArray[np.float32], levels: tuple[float, ...]
    ) -> IntervalCounts:
        """Count for quantiles (issue, lead, target, location, quantile) and truth without the last axis."""
        inside = [
            ((truth >= quantiles[..., low]) & (truth <= quantiles[..., high])).sum(axis=(0, 3))
            for low, high in intervals(levels)
        ]
        known = np.isfinite(truth).sum(axis=(0, 3))
        shape = (len(inside), *known.shape)
        return cls(nominal_coverages(levels), np.array(inside, np.int64).reshape(shape), known)

    def at(self, *, leads: slice = slice(None), targets: slice = slice(None)) -> IntervalCounts:
        """Return the counts of some leads and variables."""
        return IntervalCounts(self.nominal, self.inside[:, leads, targets], self.known[leads, targets])

    @property
    def coverage(self) -> tuple[float, ...]:
        """Fraction of observations inside each interval; NaN where nothing was observed."""
        return tuple(_share(inside.sum(), self.known.sum()) for inside in self.inside)

    @property
    def by_lead(self) -> tuple[tuple[float, ...], ...]:
        """Fraction inside each interval, by lead."""
        known = self.known.sum(axis=1)
        return tuple(tuple(map(_share, inside.sum(axis=1), known)) for inside in self.inside)


def add_counts(parts: Sequence[IntervalCounts | None]) -> IntervalCounts | None:
    """Return the sum of counts of the same intervals; None where any are missing."""
    counts = [part for part in parts if part is not None]
    if not counts or len(counts) < len(parts):
        return None
    inside, known = (sum(arrays[1:], arrays[0]) for arrays in ([c.inside for c in counts], [c.known for c in counts]))
    return IntervalCounts(counts[0].nominal, inside, known)


def _share(inside: np.int64, known: np.int64) -> float:
    return float(inside / known) if known else float("nan")
