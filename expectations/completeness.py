"""Completeness of a batch against the time grid, and the order of its times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expectations.series import Ints, by_location

MIN_TRANSITIONS = 100
"""Fewest transitions from row to row of a location, in a whole batch, whose direction means something."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """Keys of a batch, compared with those that the time grid has from its first to its last time."""

    times: int
    """Points of the time grid from the first to the last time, both included."""
    locations: Ints
    """Locations in the batch, ascending."""
    present: Ints
    """Number of keys of each of them."""

    @property
    def expected(self) -> int:
        """Number of keys of these locations if none were missing."""
        return self.times * len(self.locations)

    @property
    def share(self) -> float:
        """Share of the expected keys that are present; 1 for an empty batch, which other checks refuse."""
        return float(self.present.sum() / self.expected) if self.expected else 1.0


def completeness(location: Ints, step: Ints) -> Completeness:
    """Return the completeness of unique keys. Linear."""
    if not len(step):
        return Completeness(0, location[:0], location[:0])
    counts = np.bincount(location)
    locations = np.flatnonzero(counts)
    return Completeness(int(step.max() - step.min()) + 1, locations, counts[locations])


def share_backwards(location: Ints, time: Ints) -> float | None:
    """Return the share of transitions from row to row of a location that go back in time, in the order given.

    A payload that runs backwards throughout is in order: the rarer direction counts. Equal times are left out. None
    with fewer than 100 transitions.
    """
    order = by_location(location)
    location, time = location[order], time[order]
    moved = np.diff(time)[location[1:] == location[:-1]]
    back, ahead = int((moved < 0).sum()), int((moved > 0).sum())
    if back + ahead < MIN_TRANSITIONS:
        return None
    return min(back, ahead) / (back + ahead)
