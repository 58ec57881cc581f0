"""Step test: the change from one value to the next is larger than possible (WMO-No. 8, Vol. V, Ch. 1)."""

from __future__ import annotations

import numpy as np

from expectations.series import Floats, Series


def changes_per_step(series: Series, limit: float) -> Floats:
    """Return the change of each value from the one before it, per step: |v(i) - v(i-1)| / steps between.

    The change is 0 for the first value of a location, for a missing value, and for the return from a single spike:
    where the spike's change exceeds `limit` and the value after it is within `limit` of the value before it, only the
    spike counts. Linear in the number of values.
    """
    change = np.zeros(len(series))
    seen = series.present()
    if len(seen) < 2:
        return change
    same = seen.location[1:] == seen.location[:-1]
    steps = np.where(same, np.diff(seen.step), 1)
    rates = np.zeros(len(seen))
    with np.errstate(over="ignore"):
        rates[1:] = np.where(same, np.abs(np.diff(seen.value)) / steps, 0.0)
        high = rates > limit
        # Within the limit of the value two before.
        back = np.zeros(len(seen), np.bool_)
        across = (np.diff(seen.step)[1:] + np.diff(seen.step)[:-1]).clip(1)
        near = np.abs(seen.value[2:] - seen.value[:-2]) <= limit * across
    back[2:] = high[2:] & high[1:-1] & near & (seen.location[2:] == seen.location[:-2])
    # In 0 100 0 100 0 the hundreds are the spikes: in a run of returns every other one, from the first, is a return.
    index = np.arange(len(seen))
    last_other = np.maximum.accumulate(np.where(back, -1, index))
    rates[back & ((index - last_other) % 2 == 1)] = 0.0
    change[~np.isnan(series.value)] = rates
    return change
