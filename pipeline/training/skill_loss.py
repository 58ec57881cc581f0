"""A test that finds when a forecast has become worse than another, even after years in which it was better.

**Guarantee.** Suppose that no forecast is expected to score worse than the reference, given what is known at its issue
time. Then the probability that a loss of skill is found in a year, on any day, is at most significance x (1 + expected
debt), with the debt of `sequential`: 1 to 5 in simulations. That bound is loose: the simulated rate is 2 to 4 % at the
level of 5 %. CONTRIBUTING.md has the numbers.

**Method.** The wealth of a betting test that starts with the first forecast is gone after some good months, and such a
test would notice a loss only years later. So a test starts every 15 days and ends after a year, as in e-detectors
(Shin, Ramdas and Rinaldo, arXiv:2203.03532), and those of a year share the significance equally (Bonferroni). Before
its first bet each test sees the differences of 60 days, as far as there are any, from which it takes their scale.

**Constants.** Chosen by the number of nights until a daily forecast is found to be worse, with noise as in
`tests/score_simulation.py`: a loss here is large (10 % rather than the 2 % that the gate looks for), so more is staked.
With the fractions of the gate it takes twice as long. Starts every 30 days share the significance among fewer, but
most of their tests lose wealth before the change; starts every 10 days gain nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pipeline.times import as_numpy
from pipeline.training.sequential import compare_sequentially

FRACTIONS = np.array([0.3, 0.6])
"""Fractions of wealth staked while forecasts are open for up to `TUNED`; see `sequential.FRACTIONS`."""
TUNED = timedelta(days=3)
"""Where forecasts are open for longer, wealth grows less often; the fractions grow with the square root of the time."""
INTERVAL = timedelta(days=15)
"""Time between the first bets of tests."""
LOOKBACK = timedelta(days=60)
"""Time from the first difference that a test sees to its first bet."""
LIFETIME = timedelta(days=365)
"""Time from the first bet of a test to its end."""
MEMORY = LOOKBACK + LIFETIME
"""Older scores are never needed."""
STARTS = ceil(LIFETIME / INTERVAL)
"""Tests that start in a year; they share its significance."""


@dataclass(frozen=True)
class SkillLoss:
    """Evidence that a forecast is worse than the reference."""

    p_value: float
    """Anytime-valid p-value, adjusted for the number of tests that start in a year."""
    first: int
    """Index of the first case on which the test that found it has bet."""


def find_skill_loss(
    forecast: NDArray[np.float64],
    reference: NDArray[np.float64],
    issues: NDArray[np.datetime64],
    *,
    overlap: int,
    open_for: timedelta,
    since: datetime,
    until: datetime,
    significance: float,
) -> SkillLoss | None:
    """Return the strongest evidence that a forecast is worse than the reference, or None if it is not significant.

    Args:
        forecast: (case,) score of each issue time, in order of time, NaN where missing.
        reference: (case,) scores of the reference.
        issues: (case,) issue times, ascending.
        overlap: Largest number of consecutive cases whose forecasts are open at once.
        open_for: Longest time from the issue time of a forecast until its last value is due.
        since: Earlier cases only give the scale: what was decided on them is not decided again.
        until: Time of the decision.
        significance: Probability of an alarm within a year where there is no loss.
    """
    begin, interval = as_numpy(since), np.timedelta64(INTERVAL)
    count = max(0, (until - since) // INTERVAL + 1)
    starts = begin + interval * np.arange(max(0, count - STARTS - 1), count)
    starts = starts[starts + np.timedelta64(LIFETIME) > as_numpy(until)]
    if not len(starts) or not len(issues):
        return None
    seen = (issues >= starts[:, None] - np.timedelta64(LOOKBACK)) & (
        issues < starts[:, None] + np.timedelta64(LIFETIME)
    )
    used = seen.any(axis=0)
    seen, times = seen[:, used], issues[used]
    first_bets = np.searchsorted(times, starts)
    tested = compare_sequentially(
        np.where(seen, reference[used], np.nan),
        np.where(seen, forecast[used], np.nan),
        overlap,
        significance=significance / STARTS,
        fractions=FRACTIONS * max(1.0, np.sqrt(open_for / TUNED)),
        first_bet=first_bets,
        decide_only=True,
    )
    p_values = np.minimum(1, STARTS * tested.p_value)
    best = int(np.argmin(p_values))
    if p_values[best] > significance:
        return None
    return SkillLoss(float(p_values[best]), int(np.flatnonzero(used)[first_bets[best]]))
