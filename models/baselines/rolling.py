"""Climatology of recent years, for records with a trend."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.baselines.reference import Climatology
from models.errors import ModelError
from models.search_space import FloatRange, SearchSpace
from models.task import Batch, Task, Windows

_YEAR = np.timedelta64(31_556_952, "s")


class RollingClimatology(Climatology):
    """Climatology fitted to the last years of the training record.

    The period moves on with each retrain. For a shorter record this equals `climatology`.

    Args:
        task: what to forecast.
        years: length of the period in years; need not be a whole number.

    Raises:
        ModelError: `years` is out of range.
    """

    name: ClassVar[str] = "rolling-climatology"

    def __init__(self, task: Task, *, years: float = 15) -> None:
        super().__init__(task)
        if not 0 < years < 1000:
            raise ModelError(f"rolling-climatology: years must lie within 0..1000, found {years}")
        self._years = years

    @classmethod
    def search_space(cls, task: Task) -> SearchSpace:
        """Return the length of the period."""
        return {"years": FloatRange(1.0, 40.0, log=True)}

    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON."""
        return {"years": self._years}

    def _training_windows(self, windows: Windows) -> Windows:
        return _Recent(windows, self._years * _YEAR)


class _Recent:
    """The windows whose contexts lie entirely within `span` of the last issue time."""

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
        """The task of all samples."""
        return self._windows.task

    def __len__(self) -> int:
        """Return the number of samples, at least one."""
        return len(self._windows) - self._first

    def batch(self, index: NDArray[np.intp]) -> Batch:
        """Return the samples at these indices, counted from the first recent one."""
        return self._windows.batch(index + self._first)


def _frames(windows: Windows, number: int) -> NDArray[np.datetime64]:
    """Return the valid times of the context of one sample."""
    frames: NDArray[np.datetime64] = windows.batch(np.array([number], np.intp)).inputs.time[0]
    return frames
