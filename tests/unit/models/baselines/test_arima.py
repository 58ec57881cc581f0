"""Systems worked by hand, statsmodels' own filter, and records of which the process is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter
from statsmodels.tsa.statespace.sarimax import SARIMAX

from models.baselines.arima import Arima
from models.baselines.statespace import System, Systems, make_system
from models.checkpoint import load, save
from models.errors import ModelError
from models.task import Task
from tests.records import Record

AR1 = make_system(np.array([[0.8]]), np.array([[0.36]]))


def forecast(system: System, context: Any, leads: Any = 3) -> Any:
    """Mean and variance by lead for one context, NaN where missing."""
    values = np.array(context, np.float32).reshape(1, -1, 1, 1)
    known = np.isfinite(values)
    mean, variance = Systems.of([[system]], 3).forecast(np.nan_to_num(values), known, leads)
    return mean.ravel(), variance.ravel()


def process(task: Any, polynomial: Any, frames: Any = 2000, gaps: Any = 0.0) -> Any:
    """Windows over independent runs of an autoregression of unit variance."""
    rng = np.random.default_rng(3)
    shape = (frames + 100, 1, len(task.locations))
    run = lfilter([1.0], polynomial, rng.normal(size=shape), axis=0)[100:]
    values = (run / run.std()).astype(np.float32)
    time = (np.arange(frames) * task.step_seconds + 20_000 * 86_400).astype("datetime64[s]")
    issues = np.arange(task.context - 1, frames - task.leads)
    return Record(task, time, values, rng.random(values.shape) >= gaps, issues)


@pytest.fixture
def task(task_of: Callable[..., Task]) -> Any:
    return task_of(stations=2, transforms=("identity",), limits=((None, None),))


def none(record: Any) -> Any:
    return replace(record, issues=record.issues[:0])


def core(model: Any, context: Any) -> Any:
    """Mean and deviation by lead at the first location after a context, NaN where missing."""
    values = np.repeat(np.array(context, np.float32)[:, None, None], 2, axis=2)[None]
    record = process(model.task, [1.0], frames=20)
    inputs = record.batch(np.array([0])).inputs
    mean, deviation = model.core(inputs, np.nan_to_num(values), np.isfinite(values))
    return mean[0, :, 0, 0], deviation[0, :, 0, 0]


def test_autoregression_fades_by_its_coefficient_a_lead() -> None:
    mean, variance = forecast(AR1, [5.0, -3.0, 2.0])
    np.testing.assert_allclose(mean, [1.6, 1.28, 1.024], rtol=1e-6)
    np.testing.assert_allclose(variance, [0.36, 1 - 0.4096, 1 - 0.262144], rtol=1e-6)


def test_missing_frames_count_as_further_leads() -> None:
    mean, variance = forecast(AR1, [2.0, np.nan, np.nan], leads=1)
    np.testing.assert_allclose(mean, [1.024], rtol=1e-6)
    np.testing.assert_allclose(variance, [1 - 0.262144], rtol=1e-6)


def test_nothing_known_is_the_climate() -> None:
    mean, variance = forecast(AR1, [np.nan] * 3)
    np.testing.assert_allclose(mean, 0, atol=1e-7)
    np.testing.assert_allclose(variance, 1, rtol=1e-6)


def test_an_integrated_level_starts_with_climatic_variance() -> None:
    # Unit prior, steps of variance 1, seen exactly: the last value stays, and drifts.
    walk = make_system(np.eye(1), np.eye(1), levels=1)
    np.testing.assert_allclose(forecast(walk, [1.0, 4.0])[0], [4, 4, 4], rtol=1e-6)
    np.testing.assert_allclose(forecast(walk, [1.0, 4.0])[1], [1, 2, 3], rtol=1e-6)
    np.testing.assert_allclose(forecast(walk, [np.nan])[0], [0, 0, 0], atol=1e-7)


def test_filter_is_that_of_statsmodels_whatever_is_missing() -> None:
    rng = np.random.default_rng(0)
    context = rng.normal(size=12)
    context[[0, 4, 5, 11]] = np.nan
    model = SARIMAX(context, order=(2, 0, 1), trend="n")
    found = model.filter([0.6, 0.2, -0.3, 0.5]).get_forecast(3)
    form = model.ssm
    noise = form["selection"] @ form["state_cov"] @ form["selection"].T
    mean, variance = forecast(make_system(form["transition"], noise, form["design"][0]), context)
    np.testing.assert_allclose(mean, found.predicted_mean, rtol=1e-5)
    np.testing.assert_allclose(variance, found.var_pred_mean, rtol=1e-5)


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_known_autoregression_is_recovered(gaps: Any, task: Task) -> None:
    record = process(task, [1, -0.8], gaps=gaps)
    model = Arima(task)
    model.fit(record, none(record))
    mean, deviation = core(model, [0, 0, 0, 0, 0, 2])
    np.testing.assert_allclose(mean, [1.6, 1.28, 1.024], atol=0.15)
    np.testing.assert_allclose(deviation, [0.6, 0.768, 0.859], atol=0.05)


def test_order_is_chosen_so_that_a_swing_goes_on(task: Task) -> None:
    # x' = 1.2 x - 0.8 x before: after 0 and 1 come 1.2, 0.64, -0.192.
    record = process(task, [1, -1.2, 0.8])
    model = Arima(task)
    model.fit(record, none(record))
    mean, _ = core(model, [0, 0, 0, 0, 0, 1])
    np.testing.assert_allclose(mean, [1.2, 0.64, -0.192], atol=0.15)


def test_a_location_without_data_is_damped_like_all_others(task: Task) -> None:
    record = process(task, [1, -0.8])
    mask = record.mask.copy()
    mask[:, :, 0] = False
    model = Arima(task)
    model.fit(replace(record, mask=mask), none(record))
    mean, _ = core(model, [0, 0, 0, 0, 0, 2])
    np.testing.assert_allclose(mean[1] / mean[0], mean[0] / 2, rtol=1e-3)
    np.testing.assert_allclose(mean[0], 1.6, atol=0.1)


def test_a_saved_model_gives_bit_equal_forecasts(task: Task, tmp_path: Path) -> None:
    record = process(task, [1, -0.8], frames=400, gaps=0.1)
    model = Arima(task, frames=300)
    model.fit(record, none(record))
    save(model, tmp_path / "model")
    twin = load(tmp_path / "model")
    assert twin.options() == {"frames": 300}
    inputs = record.all().inputs
    np.testing.assert_array_equal(twin.predict(inputs), model.predict(inputs))


def test_large_networks_are_refused(task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match="arima: fits every location and target separately, at most 200, found 201"):
        Arima(task_of(stations=201))


def test_too_short_a_record_is_refused(task: Task) -> None:
    with pytest.raises(ModelError, match="frames must be at least 50"):
        Arima(task, frames=49)
