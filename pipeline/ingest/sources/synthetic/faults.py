"""What goes wrong with a row or a value: chance, but the same for the same seed, instant, station and variable.

A row has one fate: it comes in time, late, revised or twice. Apart from that each of its values may be missing, stuck
or a spike, in this order of precedence, and nothing at all comes during an outage or a gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config.sources.synthetic import Faults, Lasting
from pipeline.ingest.sources.synthetic.draws import Bits, key, keys, normal, uniform
from pipeline.ingest.sources.synthetic.waves import Floats, Times

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Fates:
    """What happens to rows; every array is (time, station)."""

    outage: Bools
    """Lost for good, as the product file says."""
    gap: Bools
    """Lost for good by chance, from all stations at once."""
    late: Bools
    revised: Bools
    duplicated: Bools

    @property
    def lost(self) -> Bools:
        """Rows that never come."""
        return self.outage | self.gap


class Chance:
    """The draws of one feed at its stations."""

    def __init__(self, faults: Faults, stations: tuple[str, ...], step: int, *names: str | int) -> None:
        self._faults, self._ids, self._step, self._names = faults, np.array(stations), step, names
        self._stations: Bits = keys(stations)

    def fates(self, times: Times) -> Fates:
        """Return what happens to the rows of some instants."""
        shape = (len(times), len(self._ids))
        outage = np.zeros(shape, np.bool_)
        for one in self._faults.outage:
            when = (times >= one.since.timestamp()) & (times <= one.until.timestamp())
            outage |= when[:, np.newaxis] & ((self._ids == one.location) | (not one.location))
        gap = np.zeros(shape, np.bool_)
        if self._faults.gap.share:
            hit = uniform(self._key("gap"), self.block(times, self._faults.gap)) < self._faults.gap.share
            gap |= hit[:, np.newaxis]
        shares = (self._faults.late.share, self._faults.revised.share, self._faults.duplicated)
        fate = np.full(shape, len(shares))
        if any(shares):
            fate = np.searchsorted(np.cumsum(shares), self._draw("fate", times), side="right")
        sent = ~(outage | gap)
        late, revised, duplicated = (sent & (fate == number) for number in range(len(shares)))
        return Fates(outage, gap & ~outage, late, revised, duplicated)

    def missing(self, times: Times, variable: str) -> Bools:
        """Return which values never come."""
        return self._hit("missing", times, variable, self._faults.missing)

    def stuck(self, times: Times, variable: str) -> Bools:
        """Return which values repeat the one that began their block."""
        lasting = self._faults.stuck
        if not lasting.share:
            return np.zeros((len(times), len(self._ids)), np.bool_)
        blocks, inverse = np.unique(self.block(times, lasting), return_inverse=True)
        hit = self._hit("stuck", blocks, variable, lasting.share)[inverse]
        return np.asarray(hit & (times != self.began(times, lasting))[:, np.newaxis])

    def spikes(self, times: Times, variable: str) -> Bools:
        """Return which values are far off."""
        return self._hit("spike", times, variable, self._faults.spikes.share)

    def normal(self, what: str, times: Times, variable: str) -> Floats:
        """Return a standard normal draw for each value."""
        return normal(self._key(what, variable), times[:, np.newaxis], self._stations)

    def constant(self, what: str, variable: str) -> Floats:
        """Return a standard normal draw for each station."""
        return normal(self._key(what, variable), self._stations)

    def began(self, times: Times, lasting: Lasting) -> Times:
        """Return the first instant of the block that each instant is in."""
        return self.block(times, lasting) * self._length(lasting)

    def block(self, times: Times, lasting: Lasting) -> Times:
        """Return the number of the block that each instant is in."""
        return times // self._length(lasting)

    def _length(self, lasting: Lasting) -> int:
        """Return the seconds of a block: whole steps, so that it begins with an observation."""
        return -(-round(lasting.lasts.total_seconds()) // self._step) * self._step

    def _hit(self, what: str, times: Times, variable: str, share: float) -> Bools:
        if not share:
            return np.zeros((len(times), len(self._ids)), np.bool_)
        return np.asarray(self._draw(what, times, variable) < share)

    def _draw(self, what: str, times: Times, variable: str = "") -> Floats:
        return uniform(self._key(what, variable), times[:, np.newaxis], self._stations)

    def _key(self, *parts: str) -> Bits:
        return key(*self._names, *parts)
