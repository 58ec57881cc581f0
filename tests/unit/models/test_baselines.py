"""Numbers worked by hand: a climate of mean 3 and spread 2 in the square-root space, errors of 0 and 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.catalogue import build
from models.statistics.lags import autocorrelation, latest
from models.task import Inputs, Task

CLIMATE = {
    "climate.basis": np.array([0, 0, 0]),
    "climate.mean": np.full((1, 1, 2), 3, np.float32),
    "climate.spread": np.full((1, 1, 2), 2, np.float32),
    "climate.floor": np.full((1, 2), 0.1, np.float32),
}


@pytest.fixture
def task(task_of: Callable[..., Task]) -> Any:
    limits = ((0.0, 60.0),)
    return task_of(stations=2, context=3, leads=2, quantile_levels=(0.25, 0.5, 0.75), limits=limits)


@pytest.fixture
def known(task: Task) -> Any:
    """A model whose dressing adds -1, 0 and 1 deviations."""
    offsets = np.broadcast_to(np.array([-1, 0, 1], np.float32), (2, 1, 2, 3)).copy()

    def make(name: Any, **core: Any) -> Any:
        model = build(name, task)
        extra = {f"core.{key}": value for key, value in core.items()}
        model.load_state(CLIMATE | {"dressing.offsets": offsets} | extra)
        return model

    return make


@pytest.fixture
def inputs() -> Any:
    """Square roots 4, 5, 6 at one station; 4, then nothing, at the other."""
    time = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[s]")
    ahead = np.array(["2020-01-04", "2020-01-05"], "datetime64[s]")
    values = np.array([[16, 16], [25, 0], [36, 0]], np.float32).reshape(1, 3, 1, 2)
    return Inputs(values, values > 0, time[None], ahead[None])


def correlation(*lags: Any) -> Any:
    """The same at both stations: lag 0 first."""
    return np.array(lags, np.float32)[:, None, None].repeat(2, axis=2)


def test_climatology_knows_only_the_calendar(known: Any, inputs: Any) -> None:
    # 3 - 2, 3, 3 + 2, squared.
    forecast = known("climatology").predict(inputs)
    np.testing.assert_allclose(forecast, np.broadcast_to([1, 9, 25], forecast.shape), rtol=1e-6)


def test_persistence_keeps_the_last_known_value(known: Any, inputs: Any) -> None:
    model = known("persistence", correlation=correlation(1, 0.5, 0.875, 0.5, 0.5, 0.5))
    forecast = model.predict(inputs)
    np.testing.assert_allclose(forecast[0, :, 0, 0, 1], [36, 36], rtol=1e-6)
    np.testing.assert_allclose(forecast[0, :, 0, 1, 1], [16, 16], rtol=1e-6)
    # At lag 1 anomalies drift by sqrt(2 (1 - 0.5)) = 1 spread of 2; at lag 2 by sqrt(2 / 8) = 0.5.
    # The highest, 64, meets the limit.
    np.testing.assert_allclose(forecast[0, 0, 0, 0], [16, 36, 60], rtol=1e-6)
    np.testing.assert_allclose(forecast[0, 1, 0, 0], [25, 36, 49], rtol=1e-6)


def test_persistence_of_nothing_is_climatology(known: Any, inputs: Any) -> None:
    model = known("persistence", correlation=correlation(1, 0.5, 0.5, 0.5, 0.5, 0.5))
    forecast = model.predict(replace(inputs, mask=np.zeros_like(inputs.mask)))
    np.testing.assert_allclose(forecast, np.broadcast_to([1, 9, 25], forecast.shape), rtol=1e-6)


def test_damped_anomaly_fades_with_lead_and_age(known: Any, inputs: Any) -> None:
    model = known("damped-anomaly", correlation=correlation(1, 0.6, 0.8, 0.28, 0.0, 0.0))
    forecast = model.predict(inputs)
    # Last anomaly (6 - 3) / 2 = 1.5, damped to 0.9; left is sqrt(1 - 0.36) = 0.8: 3 + 2 (0.9 + 0.8 k).
    np.testing.assert_allclose(forecast[0, 0, 0, 0], np.square([3.2, 4.8, 6.4]), rtol=1e-5)
    # Two frames old, so lead 1 is lag 3: anomaly 0.5 times 0.28, left sqrt(1 - 0.0784) = 0.96.
    np.testing.assert_allclose(forecast[0, 0, 0, 1], np.square([1.36, 3.28, 5.2]), rtol=1e-5)


def test_forecasts_stay_within_the_limits(known: Any, inputs: Any) -> None:
    model = known("persistence", correlation=correlation(1, 0.5, 0.5, 0.5, 0.5, 0.5))
    wild = replace(inputs, values=np.full_like(inputs.values, 1e9))
    assert model.predict(wild).max() == 60.0


def test_latest_finds_value_and_age() -> None:
    anomaly = np.array([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0]], np.float32).reshape(1, 2, 1, 3)
    known = anomaly != 0
    value, age = latest(anomaly, known)
    np.testing.assert_array_equal(value[0, 0], [3, 2, 0])
    np.testing.assert_array_equal(age[0, 0], [0, 1, 2])


def test_autocorrelation_of_an_alternating_series_pools_the_empty_station() -> None:
    wave = np.where(np.arange(4000) % 2, 1.0, -1.0).astype(np.float32)
    record = np.stack([wave, np.zeros_like(wave)], axis=-1)[:, None]
    known = np.broadcast_to([True, False], record.shape)
    found = autocorrelation(record, known, 2)
    np.testing.assert_allclose(found[:, 0, 0], [1, -0.999, 0.999], atol=1e-6)
    np.testing.assert_allclose(found[:, 0, 1], found[:, 0, 0], atol=1e-6)
