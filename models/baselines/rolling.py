"""Climatology of the recent past: a warming record leaves its early years behind."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.base import Progress, silent
from models.baselines.plain import Climatology
from models.errors import ModelError
from models.task import Batch, Task, Windows

_YEAR = np.timedelta64(31_556_952, "s")


class RollingClimatology(Climatology):
    """What the calendar says, from the last years of the training record alone.

    Each retrain moves the years on. Where the record is no longer than that, this is `climatology`.

    Args:
        task: what to forecast.
        years: how much of the record counts; a fraction will do.

    Raises:
        ModelError: `years` is not positive.
    """

    name: ClassVar[str] = "rolling-climatology"

    def __init__(self, task: Task, *, years: float = 15) -> None:
        super().__init__(task)
        if not 0 < years < 1000:
            raise ModelError(f"rolling-climatology: years must lie within 0..1000, found {years}")
        self._years = years

    def options(self) -> dict[str, Any]:
        """The constructor options, ready for JSON."""
        return {"years": self._years}

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        seed: int = 0,
        budget_seconds: float | None = None,
        progress: Progress = silent,
    ) -> None:
        """Learn from the training windows of the last years; see `Baseline.fit`."""
        self._check_windows(train, validation)
        recent = _Recent(train, self._years * _YEAR)
        super().fit(recent, validation, seed=seed, budget_seconds=budget_seconds, progress=progress)


class _Recent:
    """The windows whose whole context lies within `span` of the last issue time."""

    def __init__(self, windows: Windows, span: np.timedelta64) -> None:
        self._windows = windows
        since = _frames(windows, len(windows) - 1)[-1] - span
        first, last = 0, len(windows) - 1
        while first < last:
            middle = (first + last) // 2
            if _frames(windows, middle)[0] < since:
                first = middle + 1
            else:
                last = middle
        self._first = first

    @property
    def task(self) -> Task:
        """The task that every sample fits."""
        return self._windows.task

    def __len__(self) -> int:
        """How many samples there are; at least one."""
        return len(self._windows) - self._first

    def batch(self, index: NDArray[np.intp]) -> Batch:
        """The samples with these numbers, counted from the first recent one."""
        return self._windows.batch(index + self._first)


def _frames(windows: Windows, number: int) -> NDArray[np.datetime64]:
    """Valid times of the context of one sample."""
    frames: NDArray[np.datetime64] = windows.batch(np.array([number], np.intp)).inputs.time[0]
    return frames
