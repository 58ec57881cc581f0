"""Checks of a forecast before it is published."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def check_forecast(
    quantiles: NDArray[np.floating],
    limits: Sequence[tuple[float | None, float | None]],
    *,
    leads: int | None = None,
    targets: Sequence[str] | None = None,
    locations: Sequence[str] | None = None,
    levels: Sequence[float] | None = None,
) -> list[str]:
    """Return what is wrong with quantiles of shape (lead, target, location, quantile); empty for a valid forecast.

    Every value must be finite, not below the quantile before it, and within the limits of its target, (smallest,
    largest) with None for open. Leads, targets, locations and levels, where given, must match the shape, and appear in
    the sentences.
    """
    if quantiles.ndim != 4 or not quantiles.size:
        return [f"shape {quantiles.shape} is not (lead, target, location, quantile)"]
    parts = (range(leads) if leads is not None else None, targets, locations, levels)
    found: list[str] = []
    for axis, (name, part) in enumerate(zip(("leads", "targets", "locations", "quantiles"), parts, strict=True)):
        if part is not None and len(part) != quantiles.shape[axis]:
            found.append(f"{quantiles.shape[axis]} {name}, not {len(part)}")
    if len(limits) != quantiles.shape[1]:
        found.append(f"limits of {len(limits)} targets for {quantiles.shape[1]}")
    if found:
        return found
    for place, (low, high) in enumerate(limits):
        values = quantiles[:, place]
        falls = np.zeros(values.shape, np.bool_)
        falls[..., 1:] = values[..., 1:] < values[..., :-1]
        faults = {
            "not finite": ~np.isfinite(values),
            "below the quantile before": falls,
            # Compared at the precision of the values: float32 may not hold a limit exactly.
            f"below {low}": values < values.dtype.type(-np.inf if low is None else low),
            f"above {high}": values > values.dtype.type(np.inf if high is None else high),
        }
        for fault, where in faults.items():
            if where.any():
                lead, location, level = np.argwhere(where)[0]
                target = targets[place] if targets else f"target {place}"
                found.append(
                    f"{target}: {where.sum()} of {where.size} values are {fault}, "
                    f"first {values[lead, location, level]:g} at lead {lead + 1}, "
                    f"location {locations[location] if locations else location}, "
                    f"quantile {levels[level] if levels else level}"
                )
    return found
