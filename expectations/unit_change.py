"""A batch in another unit: its values agree with the recent ones only after, say, Fahrenheit is turned to Celsius.

Values within the limits can be in the wrong unit, and weather can look like a unit change: a stormy day has twice the
wind of a calm one, and a knot is half a metre per second. So the evidence must be strong, one of two kinds:

* keys that were received before come again with values that all changed by the same factor and offset;
* the level of the batch lies far outside the levels of all recent spans of its own length, and after the change it
  lies among them. That compares a day with days and a week with weeks.

Each location votes for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expectations.series import Bools, Floats, Series, quantiles

MIN_PAIRS = 3
"""Repeated keys of a location that it needs to vote by."""
MIN_SPANS = 6
"""Recent spans of a location, as long as the batch, that it needs to vote by."""
MIN_VALUES = 10
"""Values of a batch below which nothing is judged."""
NEAR = 0.05
"""How far from the changed value a repeated one may be, as a share of the change: units are sent rounded."""


@dataclass(frozen=True, slots=True)
class UnitChange:
    """What a mistaken unit makes of a value: factor x value + offset, in the unit of the store."""

    words: str
    """What happened, e.g. degF taken for degC."""
    factor: float
    offset: float = 0.0

    def of(self, values: Floats) -> Floats:
        """Return what the values look like in the mistaken unit."""
        return values * self.factor + self.offset

    def undo(self, values: Floats) -> Floats:
        """Return the values that look like these in the mistaken unit."""
        return (values - self.offset) / self.factor


@dataclass(frozen=True, slots=True)
class Votes:
    """How many locations could be judged, and how many of them speak for the change that most speak for."""

    judged: int
    share: float
    change: UnitChange | None = None


def unit_change(batch: Series, recent: Series, changes: Sequence[UnitChange]) -> Votes:
    """Return the share of locations whose batch agrees with the recent values only after one of the changes.

    O(n log n). Nothing is judged with fewer than ten values, or where no location has enough to compare with.
    """
    now, before = batch.present(), recent.present()
    nothing = Votes(0, 0.0)
    if len(now) < MIN_VALUES or not len(before) or not changes:
        return nothing
    places = int(max(now.location.max(), before.location.max())) + 1
    judged = np.zeros(places, np.bool_)
    votes = np.zeros((len(changes), places), np.bool_)
    _vote_by_pairs(now, before, changes, judged, votes)
    _vote_by_level(now, before, changes, judged, votes)
    if not judged.any():
        return nothing
    counts = votes.sum(axis=1)
    best = int(np.argmax(counts))
    share = float(counts[best] / judged.sum())
    return Votes(int(judged.sum()), share, changes[best] if counts[best] else None)


def _vote_by_pairs(now: Series, before: Series, changes: Sequence[UnitChange], judged: Bools, votes: Bools) -> None:
    """Let each location vote that has received enough keys again."""
    old, new = _repeated(now, before)
    if not len(new):
        return
    place, x, y = new.location, old.value, new.value
    scale = np.maximum(np.abs(x), np.abs(y))
    same = np.abs(y - x) <= 1e-9 * scale
    places = len(judged)
    told = np.bincount(place, minlength=places) >= MIN_PAIRS
    # A location where most repeated values are what they were did not change its unit.
    stays = np.bincount(place[same & (x != 0)], minlength=places) * 2 > np.bincount(place[x != 0], minlength=places)
    enough = np.zeros(places, np.bool_)
    for n, change in enumerate(changes):
        expected = change.of(x)
        moved = np.abs(expected - x)
        informative = moved > 1e-9 * scale
        agrees = informative & (np.abs(y - expected) <= NEAR * moved)
        asked = np.bincount(place[informative], minlength=places)
        fits = np.bincount(place[agrees], minlength=places)
        enough |= asked >= MIN_PAIRS
        votes[n] |= (asked >= MIN_PAIRS) & (fits >= 0.9 * asked) & ~stays
    judged |= told & (enough | stays)


def _repeated(now: Series, before: Series) -> tuple[Series, Series]:
    """The values of the keys that both have, in one order."""
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


def _vote_by_level(now: Series, before: Series, changes: Sequence[UnitChange], judged: Bools, votes: Bools) -> None:
    """Let each location vote, which has not by repeated keys, whose recent levels are known."""
    first = int(now.step.min())
    past = before.where(before.step < first)
    if not len(past):
        return
    # Of a long batch, its beginning: what follows the recent values, and is as long as enough spans of them.
    span = max(1, min(int(now.step.max()) + 1 - first, (first - int(past.step.min())) // MIN_SPANS))
    now = now.where(now.step < first + span)
    back = (first - 1 - past.step) // span
    group = past.location * (int(back.max()) + 1) + (int(back.max()) - back)
    spans, levels, sizes = quantiles(group, past.value)
    owners = spans // (int(back.max()) + 1)
    here, level, given = quantiles(now.location, now.value)
    places = len(judged)
    needed = np.full(places, np.inf)
    needed[here] = given / 2
    full = sizes >= needed[owners]
    owners, levels = owners[full], levels[full]
    low, high = np.full(places, np.inf), np.full(places, -np.inf)
    np.minimum.at(low, owners, levels)
    np.maximum.at(high, owners, levels)
    count = np.bincount(owners, minlength=places)
    able = (count[here] >= MIN_SPANS) & (high[here] > low[here]) & ~judged[here]
    here, level = here[able], level[able]
    low, high = low[here], high[here]
    # Few spans tell little of how far levels range.
    margin = (high - low) * (0.5 + 6 / count[here])
    out = (level < low - margin) | (level > high + margin)
    for n, change in enumerate(changes):
        meant = change.undo(level)
        inside = (meant >= low - 0.1 * (high - low)) & (meant <= high + 0.1 * (high - low))
        votes[n, here] |= out & inside
    judged[here] = True
