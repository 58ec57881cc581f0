"""Confidence intervals of skill by a moving-block bootstrap over issue times.

Errors of neighbouring issue times are alike, because their forecasts share valid times and weather. So whole blocks of
consecutive issue times are drawn, circularly (Politis and Romano 1992), and the skill of each draw is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DRAWS = 2000
CONFIDENCE = 0.95
FEWEST_BLOCKS = 5
"""With fewer blocks an interval would say nothing."""


def block_length(valid_times: Sequence[Sequence[datetime]]) -> int:
    """Return the number of issue times in a block, given the valid times of each.

    It is at least the number of consecutive issue times whose forecasts overlap, and at least the cube root of all.
    """
    overlap, end = 1, 0
    for start, times in enumerate(valid_times):
        end = max(end, start + 1)
        while end < len(valid_times) and valid_times[end][0] <= times[-1]:
            end += 1
        overlap = max(overlap, end - start)
    return max(overlap, round(float(np.cbrt(len(valid_times)))))


class SkillBootstrap:
    """Draws of blocks of issue times, the same for every comparison.

    Args:
        issues: Number of issue times.
        block: Issue times in a block.
        seed: Seed of the draws; equal arguments give equal intervals.
    """

    def __init__(self, issues: int, block: int, *, seed: int) -> None:
        self._issues, self._block = issues, block
        blocks = -(-issues // block)
        self._starts = np.random.default_rng(seed).integers(0, issues, (DRAWS, blocks)) if issues else None
        self.enough = issues >= FEWEST_BLOCKS * block

    def interval(self, scores: Array, reference: Array) -> tuple[float, float] | None:
        """Return the bounds of the skill 1 - sum(scores) / sum(reference), or None if there are too few blocks.

        Args:
            scores: (issue,) sum of the scores of each issue time.
            reference: (issue,) those of the reference, over the same forecasts.
        """
        if not self.enough or self._starts is None:
            return None
        ours, theirs = (self._sums(values, self._starts) for values in (scores, reference))
        drawn = theirs > 0
        if not drawn.any():
            return None
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(1 - ours[drawn] / theirs[drawn], (tail, 1 - tail))
        return float(low), float(high)

    def means(self, values: Array) -> Array | None:
        """Return the mean of values (issue,) in each draw, or None if there are too few blocks."""
        if not self.enough or self._starts is None:
            return None
        means: Array = self._sums(values, self._starts) / (self._starts.shape[1] * self._block)
        return means

    def _sums(self, values: Array, starts: NDArray[np.int64]) -> Array:
        """Return the sum of values in each draw."""
        sums: Array = self._block_sums(values)[starts].sum(axis=1)
        return sums

    def _block_sums(self, values: Array) -> Array:
        """Return the sum of the block that starts at each issue time; after the last one follows the first."""
        total: Array = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[: self._block]]))])
        return total[self._block : self._block + self._issues] - total[: self._issues]
