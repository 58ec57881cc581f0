"""Simulated faults of rows and values: random, but determined by seed, time, station and variable.

A row is published on time, late, revised or twice. Independently, each of its values may be missing, stuck or a spike,
in this order of precedence. During an outage or a gap nothing is published.
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
class RowFaults:
    """Faults of rows; every array has shape (time, station)."""

    outage: Bools
    """Never published, because of an outage in the product file."""
    gap: Bools
    """Never published, because of a random gap at all stations."""
    late: Bools
    revised: Bools
    duplicated: Bools

    @property
    def lost(self) -> Bools:
        """Rows that are never published."""
        return self.outage | self.gap


class FaultModel:
    """The random faults of a feed at its stations."""

    def __init__(self, faults: Faults, stations: tuple[str, ...], step: int, *names: str | int) -> None:
        self._faults, self._ids, self._step, self._names = faults, np.array(stations), step, names
        self._stations: Bits = keys(stations)

    def row_faults(self, times: Times) -> RowFaults:
        """Return the faults of the rows at some times."""
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
        kind = np.full(shape, len(shares))
        if any(shares):
            kind = np.searchsorted(np.cumsum(shares), self._draw("fate", times), side="right")
        sent = ~(outage | gap)
        late, revised, duplicated = (sent & (kind == number) for number in range(len(shares)))
        return RowFaults(outage, gap & ~outage, late, revised, duplicated)

    def missing(self, times: Times, variable: str) -> Bools:
        """Return which values are never published."""
        return self._hit("missing", times, variable, self._faults.missing)

    def stuck(self, times: Times, variable: str) -> Bools:
        """Return which values repeat the first value of their block."""
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
        """Return the first time of the block of each time."""
        return self.block(times, lasting) * self._length(lasting)

    def block(self, times: Times, lasting: Lasting) -> Times:
        """Return the number of the block of each time."""
        return times // self._length(lasting)

    def _length(self, lasting: Lasting) -> int:
        """Return the length of a block in seconds, in whole time steps so that it starts with an observation."""
        return -(-round(lasting.lasts.total_seconds()) // self._step) * self._step

    def _hit(self, what: str, times: Times, variable: str, share: float) -> Bools:
        if not share:
            return np.zeros((len(times), len(self._ids)), np.bool_)
        return np.asarray(self._draw(what, times, variable) < share)

    def _draw(self, what: str, times: Times, variable: str = "") -> Floats:
        return uniform(self._key(what, variable), times[:, np.newaxis], self._stations)

    def _key(self, *parts: str) -> Bits:
        return key(*self._names, *parts)
