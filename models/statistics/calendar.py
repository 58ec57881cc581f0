"""Calendar regressors: annual and daily harmonics, and the hours of the week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DAY = 86_400.0
YEAR_SECONDS = 365.2425 * _DAY
_WEEK_HOURS = 168
# 1970-01-01 was a Thursday; weeks here begin on Monday.
_MONDAY_SHIFT = 3 * 24


@dataclass(frozen=True, slots=True)
class Basis:
    """Regressors of a time in UTC: a constant, harmonics of the year and the day, and the hours of the week.

    Attributes:
        annual: number of annual harmonics.
        daily: number of daily harmonics.
        weekly: whether each hour of the week has its own regressor.
    """

    annual: int = 0
    daily: int = 0
    weekly: bool = False

    @property
    def size(self) -> int:
        """Number of regressors."""
        return 1 + 2 * self.annual + 2 * self.daily + _WEEK_HOURS * self.weekly

    def __call__(self, time: NDArray[np.datetime64]) -> NDArray[np.float32]:
        """Return the regressors (..., size) of times (...)."""
        seconds = time.astype("datetime64[s]").astype(np.int64)
        columns = [np.ones(seconds.shape)]
        for harmonics, period in ((self.annual, YEAR_SECONDS), (self.daily, _DAY)):
            angle = seconds * (2 * np.pi / period)
            for order in range(1, harmonics + 1):
                columns += [np.cos(order * angle), np.sin(order * angle)]
        smooth = np.stack(columns, axis=-1).astype(np.float32)
        if not self.weekly:
            return smooth
        hour = (seconds // 3600 + _MONDAY_SHIFT) % _WEEK_HOURS
        return np.concatenate([smooth, np.eye(_WEEK_HOURS, dtype=np.float32)[hour]], axis=-1)


def candidates(days: float, step_seconds: int, most_annual: int = 3) -> tuple[Basis, ...]:
    """Return the bases that a record of this length and step supports, the richest last."""
    annual = min(most_annual, 0 if days < 350 else 2 if days < 1500 else 3)
    daily = 0 if step_seconds >= _DAY else min(4, int(_DAY // (2 * step_seconds)))
    found = [Basis(annual, daily)]
    if step_seconds <= 3600 and days >= 28:
        found.append(Basis(annual, 0, weekly=True))
    return tuple(found)


def cycles(time: NDArray[np.datetime64]) -> NDArray[np.float32]:
    """Return the sine and cosine of the year, the day and the week, (..., 6)."""
    seconds = time.astype("datetime64[s]").astype(np.int64)
    angles = [seconds * (2 * np.pi / period) for period in (YEAR_SECONDS, _DAY, 7 * _DAY)]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.stack(waves, axis=-1).astype(np.float32)
