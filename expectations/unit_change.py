"""Unit change: the values of a batch agree with the recent ones only after, say, Fahrenheit is converted to Celsius.

Values within the limits can be in the wrong unit, and weather can look like a unit change: a stormy day has twice the
wind of a calm one, and a knot is half a metre per second. So the evidence must be strong, and of one of two kinds:

* keys received before are received again with values that all changed by the same factor and offset;
* the median of the batch lies far outside the medians of all recent spans of the same length, and among them after the
  change is undone. Days are compared with days and weeks with weeks.

Each location has one vote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expectations.series import Bools, Floats, Series, quantiles

MIN_PAIRS = 3
"""Repeated keys that a location needs to vote."""
MIN_SPANS = 6
"""Recent spans, as long as the batch, that a location needs to vote."""
MIN_VALUES = 10
"""Fewest values of a batch that is tested."""
NEAR = 0.05
"""How far a repeated value may be from the changed one, as a share of the change: converted values are rounded."""


@dataclass(frozen=True, slots=True)
class UnitChange:
    """The effect of a mistaken unit on a value: factor x value + offset, in the unit of the store."""

    description: str
    """What happened, e.g. degF instead of degC."""
    factor: float
    offset: float = 0.0

    def apply(self, values: Floats) -> Floats:
        """Return values as they appear in the mistaken unit."""
        return values * self.factor + self.offset

    def undo(self, values: Floats) -> Floats:
        """Return the true values of those in the mistaken unit."""
        return (values - self.offset) / self.factor


@dataclass(frozen=True, slots=True)
class Votes:
    """The votes for the change that most locations vote for."""

    locations: int
    """Number of locations that had enough values to vote."""
    share: float
    """Share of them that vote for the change."""
    change: UnitChange | None = None


def unit_change(batch: Series, recent: Series, changes: Sequence[UnitChange]) -> Votes:
    """Return the share of locations whose batch agrees with the recent values only after one of the changes.

    O(n log n). No location votes with fewer than ten values, or where none has enough to compare with.
    """
    now, before = batch.present(), recent.present()
    nothing = Votes(0, 0.0)
    if len(now) < MIN_VALUES or not len(before) or not changes:
        return nothing
    count = int(max(now.location.max(), before.location.max())) + 1
    tested = np.zeros(count, np.bool_)
    votes = np.zeros((len(changes), count), np.bool_)
    _vote_by_pairs(now, before, changes, tested, votes)
    _vote_by_level(now, before, changes, tested, votes)
    if not tested.any():
        return nothing
    counts = votes.sum(axis=1)
    best = int(np.argmax(counts))
    share = float(counts[best] / tested.sum())
    return Votes(int(tested.sum()), share, changes[best] if counts[best] else None)


def _vote_by_pairs(now: Series, before: Series, changes: Sequence[UnitChange], tested: Bools, votes: Bools) -> None:
    """Let each location vote that received enough keys again."""
    old, new = _repeated(now, before)
    if not len(new):
        return
    location, x, y = new.location, old.value, new.value
    scale = np.maximum(np.abs(x), np.abs(y))
    same = np.abs(y - x) <= 1e-9 * scale
    count = len(tested)
    repeated = np.bincount(location, minlength=count) >= MIN_PAIRS
    # A location where most repeated values are unchanged did not change its unit.
    stays = np.bincount(location[same & (x != 0)], minlength=count) * 2 > np.bincount(location[x != 0], minlength=count)
    enough = np.zeros(count, np.bool_)
    for n, change in enumerate(changes):
        expected = change.apply(x)
        moved = np.abs(expected - x)
        informative = moved > 1e-9 * scale
        agrees = informative & (np.abs(y - expected) <= NEAR * moved)
        asked = np.bincount(location[informative], minlength=count)
        fits = np.bincount(location[agrees], minlength=count)
        enough |= asked >= MIN_PAIRS
        votes[n] |= (asked >= MIN_PAIRS) & (fits >= 0.9 * asked) & ~stays
    tested |= repeated & (enough | stays)


def _repeated(now: Series, before: Series) -> tuple[Series, Series]:
    """Return the values of the keys that both have, in the same order."""
    low = min(now.step.min(), before.step.min())
    span = max(now.step.max(), before.step.max()) - low + 1
    _, one, other = np.intersect1d(
        before.location * span + before.step - low,
        now.location * span + now.step - low,
        assume_unique=True,
        return_indices=True,
    )
    chosen = [np.zeros(len(series), np.bool_) for series in (before, now)]
    chosen[0][one], chosen[1][other] = True, True
    return before.where(chosen[0]), now.where(chosen[1])


def _vote_by_level(now: Series, before: Series, changes: Sequence[UnitChange], tested: Bools, votes: Bools) -> None:
    """Let each location vote that has not voted yet and whose recent medians are known."""
    first = int(now.step.min())
    past = before.where(before.step < first)
    if not len(past):
        return
    # Of a long batch, its beginning, short enough that the recent values have enough spans of that length.
    span = max(1, min(int(now.step.max()) + 1 - first, (first - int(past.step.min())) // MIN_SPANS))
    now = now.where(now.step < first + span)
    back = (first - 1 - past.step) // span
    group = past.location * (int(back.max()) + 1) + (int(back.max()) - back)
    spans, levels, sizes = quantiles(group, past.value)
    owners = spans // (int(back.max()) + 1)
    here, level, given = quantiles(now.location, now.value)
    count = len(tested)
    needed = np.full(count, np.inf)
    needed[here] = given / 2
    full = sizes >= needed[owners]
    owners, levels = owners[full], levels[full]
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, owners, levels)
    np.maximum.at(high, owners, levels)
    spans_of = np.bincount(owners, minlength=count)
    able = (spans_of[here] >= MIN_SPANS) & (high[here] > low[here]) & ~tested[here]
    here, level = here[able], level[able]
    low, high = low[here], high[here]
    # A few spans underestimate the range of the levels.
    margin = (high - low) * (0.5 + 6 / spans_of[here])
    out = (level < low - margin) | (level > high + margin)
    for n, change in enumerate(changes):
        meant = change.undo(level)
        inside = (meant >= low - 0.1 * (high - low)) & (meant <= high + 0.1 * (high - low))
        votes[n, here] |= out & inside
    tested[here] = True
