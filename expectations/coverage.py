"""What of a batch is there: rows against the cadence, the order of its times, and how old its newest value is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expectations.series import Ints, by_location

MIN_TRANSITIONS = 100
"""Steps from row to row of a location, in a whole batch, below which their direction tells nothing."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """Keys of a batch against those that the cadence lets expect from its first to its last time."""

    times: int
    """Points of the time grid from the first to the last time, both included."""
    places: Ints
    """Locations that the batch tells of, ascending."""
    present: Ints
    """Keys of each of them."""

    @property
    def expected(self) -> int:
        """Keys of the locations that the batch tells of, if none were missing."""
        return self.times * len(self.places)

    @property
    def share(self) -> float:
        """Share of the expected keys that are there; 1 for an empty batch, which other checks refuse."""
        return float(self.present.sum() / self.expected) if self.expected else 1.0


def completeness(location: Ints, step: Ints) -> Completeness:
    """Return how complete unique keys are, by location. Linear."""
    if not len(step):
        return Completeness(0, location[:0], location[:0])
    counts = np.bincount(location)
    places = np.flatnonzero(counts)
    return Completeness(int(step.max() - step.min()) + 1, places, counts[places])


def share_backwards(location: Ints, time: Ints) -> float | None:
    """Return the share of the steps from row to row of a location that lead back in time, in the order given.

    A payload that runs backwards throughout is in order: the smaller of both directions counts. Equal times count for
    neither. None where there are fewer than a hundred such steps.
    """
    order = by_location(location)
    place, at = location[order], time[order]
    moved = np.diff(at)[place[1:] == place[:-1]]
    back, ahead = int((moved < 0).sum()), int((moved > 0).sum())
    if back + ahead < MIN_TRANSITIONS:
        return None
    return min(back, ahead) / (back + ahead)
