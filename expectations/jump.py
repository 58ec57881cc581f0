"""A value that jumps: the change from the value before is more than can be (step test, WMO-No. 8, Vol. V, Ch. 1)."""

from __future__ import annotations

import numpy as np

from expectations.series import Floats, Series


def jumps(series: Series, limit: float) -> Floats:
    """Return by how much each value changed from the one before it, per step: |v(i) - v(i-1)| / steps between.

    It is 0 for the first value of a location, for a missing one, and for the one that comes back from a single
    spike: where the spike's change exceeds `limit` and the value after it is within `limit` of the value before it,
    the spike alone is told. Linear in the number of values.
    """
    change = np.zeros(len(series))
    seen = series.present()
    if len(seen) < 2:
        return change
    same = seen.location[1:] == seen.location[:-1]
    apart = np.where(same, np.diff(seen.step), 1)
    rates = np.zeros(len(seen))
    with np.errstate(over="ignore"):
        rates[1:] = np.where(same, np.abs(np.diff(seen.value)) / apart, 0.0)
        high = rates > limit
        # Back where it was before the value before.
        back = np.zeros(len(seen), np.bool_)
        across = (np.diff(seen.step)[1:] + np.diff(seen.step)[:-1]).clip(1)
        near = np.abs(seen.value[2:] - seen.value[:-2]) <= limit * across
    back[2:] = high[2:] & high[1:-1] & near & (seen.location[2:] == seen.location[:-2])
    # In 0 100 0 100 0 the hundreds are the spikes: of a row of returns every other one, from the first, is a return.
    place = np.arange(len(seen))
    last_other = np.maximum.accumulate(np.where(back, -1, place))
    rates[back & ((place - last_other) % 2 == 1)] = 0.0
    change[~np.isnan(series.value)] = rates
    return change
