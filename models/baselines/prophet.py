"""Prophet: trend and seasonality of each location, by the library of that name."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.baselines.statespace import check_series_count
from models.errors import ModelError, NotFittedError
from models.statistics.series import Series
from models.task import Inputs, Task, Windows

Growth = Literal["auto", "linear", "flat"]
_LARGEST = 12.0


class Prophet(Baseline):
    """What trend and calendar say of each location: no recent value is looked at.

    Unlike `climatology` it can extrapolate the trend of the training record (Taylor and Letham 2018). A location that
    never reported is forecast by its climate.

    Args:
        task: what to forecast.
        growth: `linear` to extrapolate the trend, `flat` for a constant level; with `auto` validation chooses, and
            without validation the level is constant.

    Raises:
        ModelError: Prophet is not installed, `growth` is invalid, or there are more than 200 series (locations times
            targets).
    """

    name: ClassVar[str] = "prophet"

    def __init__(self, task: Task, *, growth: Growth = "auto") -> None:
        super().__init__(task)
        check_series_count(self.name, task)
        if growth not in get_args(Growth):
            raise ModelError(f"{self.name}: growth must be one of {list(get_args(Growth))}, found {growth!r}")
        import_prophet()
        self._growth = growth
        self._curves: list[Any] | None = None
        self._texts: list[NDArray[np.uint8]] = []

    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON."""
        return {"growth": self._growth}

    def _fit_record(self, record: Series, train: Windows, chooser: Windows | Self) -> None:
        if self._growth != "auto":
            self._use(self._fitted(record, self._growth))
            return
        if isinstance(chooser, Prophet):
            self._use(self._fitted(record, chooser._fitted_growth()))
            return
        if not len(chooser):
            self._use(self._fitted(record, "flat"))
            return
        errors, fitted = {}, {}
        for growth in ("flat", "linear"):
            fitted[growth] = self._fitted(record, growth)
            self._use(fitted[growth])
            errors[growth] = float(np.nansum(np.square(self._past_forecasts(chooser).errors), dtype=np.float64))
        self._use(fitted[min(errors, key=lambda growth: errors[growth])])

    def _fitted(self, record: Series, growth: str) -> list[NDArray[np.uint8]]:
        texts = []
        for channel in self.task.target_channels:
            for location in range(len(self.task.locations)):
                known = record.mask[:, channel, location]
                texts.append(_fit(record.time[known], record.values[known, channel, location], growth))
        return texts

    def _fitted_growth(self) -> str:
        """Return the growth of the curves, which is the same for all series."""
        return next((str(curve.growth) for curve in self._curves or () if curve is not None), "flat")

    def _fit_anomalies(self, anomaly: Floats, known: Known, chooser: Windows | Self) -> None:
        pass

    def _use(self, texts: list[NDArray[np.uint8]]) -> None:
        self._curves = [_load(text) for text in texts]
        self._texts = texts

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Return Prophet's mean as an anomaly of the climate, and unit standard deviation."""
        if self._curves is None:
            raise NotFittedError(self.name)
        mean, spread = self.expected(inputs.target_time)
        moments, index = np.unique(inputs.target_time, return_inverse=True)
        index = index.reshape(inputs.target_time.shape)
        anomalies = np.zeros_like(mean)
        for number, curve in enumerate(self._curves):
            if curve is not None and len(moments):
                target, location = divmod(number, len(self.task.locations))
                series = (..., target, location)
                anomalies[series] = (_evaluate(curve, moments)[index] - mean[series]) / spread[series]
        return np.clip(anomalies, -_LARGEST, _LARGEST), np.ones_like(mean)

    def _core_state(self) -> dict[str, NDArray[Any]]:
        return {f"curve{number}": text for number, text in enumerate(self._texts)}

    def _load_core_state(self, state: State) -> None:
        count = len(self.task.targets) * len(self.task.locations)
        self._use([take(state, f"curve{number}") for number in range(count)])


def import_prophet() -> Any:
    """Return the prophet module, with its log messages and warnings silenced.

    Raises:
        ModelError: it is not installed.
    """
    # It logs an error where plotly is missing, which is not needed.
    logging.getLogger("prophet.plot").setLevel(logging.CRITICAL)
    try:
        with _quiet():
            import prophet
            import prophet.serialize
            from cmdstanpy.utils import get_logger
    except ImportError as error:
        raise ModelError("prophet: not installed; run pip install 'nightcast[prophet]'") from error
    # cmdstanpy sets the level of its logger at first use, not at import.
    for logger in (logging.getLogger("prophet"), get_logger()):
        logger.setLevel(logging.WARNING)
    return prophet


def _fit(time: NDArray[np.datetime64], values: Floats, growth: str) -> NDArray[np.uint8]:
    """Return the fitted model as Prophet's own JSON; empty where there are too few values."""
    if len(values) < 2:
        return np.empty(0, np.uint8)
    import pandas

    prophet = import_prophet()
    with _quiet():
        model = prophet.Prophet(growth=growth, uncertainty_samples=0)
        model.fit(pandas.DataFrame({"ds": time, "y": values.astype(np.float64)}), seed=0)
        # Drop the training data, of which a forecast needs only the ends.
        ends = [0, -1]
        model.history, model.history_dates = model.history.iloc[ends], model.history_dates.iloc[ends]
        del model.params["trend"]
        return np.frombuffer(prophet.serialize.model_to_json(model).encode(), np.uint8)


def _load(text: NDArray[np.uint8]) -> Any:
    if not text.size:
        return None
    try:
        with _quiet():
            return import_prophet().serialize.model_from_json(text.tobytes().decode())
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"state: not a Prophet model: {error}") from error


def _evaluate(curve: Any, time: NDArray[np.datetime64]) -> NDArray[np.float64]:
    import pandas

    with _quiet():
        mean: NDArray[np.float64] = curve.predict(pandas.DataFrame({"ds": time}))["yhat"].to_numpy()
    return mean


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore warnings, which concern Prophet's own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
