"""Scores of pairs of recipes at the same issue times, each as it was first computed, on which the gate's test rests.

A test that is repeated every night stays valid only if no case is counted twice and no score is chosen after the fact.
So a pair of recipes keeps the scores of its first night, and later nights add the issue times that have matured since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from pipeline.times import as_numpy

Pair = tuple[str, str]
"""Keys of the challenger's and the rival's recipe."""


@dataclass(frozen=True)
class PairedScores:
    """Mean scores of two recipes, one row per issue time, ascending."""

    issues: NDArray[np.datetime64]
    """(case,)"""
    scores: NDArray[np.float64]
    """(2, case): the challenger's, then the rival's; all finite."""
    batch: int
    """Number of cases of the first night."""

    @classmethod
    def empty(cls) -> PairedScores:
        """Return no scores."""
        return cls(np.empty(0, "datetime64[us]"), np.empty((2, 0)), 0)

    def overlap(self, open_for: timedelta) -> int:
        """Return the largest number of forecasts that are open at once, each for a time `open_for` from its issue."""
        return count_open(self.issues[: self.batch], open_for)

    def until(self, last: datetime) -> PairedScores:
        """Return the scores of issue times up to `last`: a replayed night must not see later ones."""
        known = self.issues <= as_numpy(last)
        return PairedScores(self.issues[known], self.scores[:, known], min(self.batch, int(known.sum())))

    def extended(self, issues: Iterable[datetime], scores: NDArray[np.float64], open_for: timedelta) -> PairedScores:
        """Return these scores with those of later issue times (2, case) that both recipes have.

        The first night gives all of its issue times. Later nights add one only if no more forecasts are open at once
        than on the first night, because the test rests on that number.
        """
        times = np.array([as_numpy(issue) for issue in issues], "datetime64[us]")
        new = np.isfinite(scores).all(axis=0)
        if not len(self.issues):
            return PairedScores(times[new], scores[:, new], int(new.sum()))
        later = np.flatnonzero(new & (times > self.issues[-1]))
        chosen = later[space_out(times[later], self.overlap(open_for), open_for, after=self.issues)]
        return PairedScores(
            np.append(self.issues, times[chosen]), np.append(self.scores, scores[:, chosen], axis=1), self.batch
        )


def count_open(issues: NDArray[np.datetime64], open_for: timedelta) -> int:
    """Return the largest number of forecasts that are open at once, at least 1; `issues` (case,) are ascending."""
    return int((np.searchsorted(issues, issues + np.timedelta64(open_for)) - np.arange(len(issues))).max(initial=1))


def space_out(
    issues: NDArray[np.datetime64], overlap: int, open_for: timedelta, *, after: NDArray[np.datetime64] | None = None
) -> NDArray[np.intp]:
    """Return the indices of issue times (case,) that leave no more than `overlap` forecasts open at once.

    The earlier of two is kept. Those `after` which they follow are all kept; all are ascending.
    """
    kept: list[np.datetime64] = [] if after is None else list(after[-overlap:])
    chosen = []
    for index, issue in enumerate(issues):
        if len(kept) < overlap or kept[-overlap] + np.timedelta64(open_for) <= issue:
            kept.append(issue)
            chosen.append(index)
    return np.array(chosen, np.intp)


ScoreHistory = Mapping[Pair, PairedScores]
"""The paired scores of a product."""
