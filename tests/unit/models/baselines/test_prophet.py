"""A trend that goes on, a level that does not, and a library that may be absent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.baselines.prophet import Prophet
from models.checkpoint import load, save
from models.errors import ModelError
from models.task import Task
from tests.records import Record

installed = pytest.mark.skipif(find_spec("prophet") is None, reason="the extra nightcast[prophet] is not installed")


@pytest.fixture
def task(task_of: Callable[..., Task]) -> Any:
    return task_of(stations=2, transforms=("identity",), limits=((None, None),))


def windows(task: Any, trend: Any, gaps: Any = 0.0) -> Any:
    """Two stations of which the first rises by 1 in a hundred days where there is a trend."""
    rng = np.random.default_rng(4)
    frames = np.arange(300)
    values = 0.1 * rng.normal(size=(300, 1, 2)) + 5
    values[:, 0, 0] += trend * frames / 100
    time = (frames * 86_400 + 20_000 * 86_400).astype("datetime64[s]")
    record = Record(task, time, values.astype(np.float32), rng.random(values.shape) >= gaps, frames)
    parts = (5, 200), (210, 250), (250, 297)
    return [replace(record, issues=np.arange(*part)) for part in parts]


def median_error(model: Any, record: Any) -> Any:
    batch = record.all()
    return (model.predict(batch.inputs)[..., 2] - batch.target)[..., 0].mean(where=batch.target_mask[..., 0])


@installed
@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_a_trend_goes_on(gaps: Any, task: Task) -> None:
    train, validation, test = windows(task, 1.0, gaps)
    model = Prophet(task)
    model.fit(train, validation)
    # A level would be 1.7 too low by then.
    assert abs(median_error(model, test)) < 0.2


@installed
def test_without_validation_a_level_stays(task: Task) -> None:
    train, validation, test = windows(task, 1.0)
    model = Prophet(task)
    model.fit(train, replace(validation, issues=validation.issues[:0]))
    assert median_error(model, test) < -1


@installed
def test_recent_values_change_nothing(task: Task) -> None:
    train, validation, test = windows(task, 0.0)
    model = Prophet(task, growth="flat")
    model.fit(train, validation)
    inputs = test.all().inputs
    silent = replace(inputs, mask=np.zeros_like(inputs.mask))
    np.testing.assert_array_equal(model.predict(silent), model.predict(inputs))


@installed
def test_a_location_that_never_reported_is_forecast_by_its_climate(task: Task) -> None:
    train, validation, test = windows(task, 0.0)
    mask = train.mask.copy()
    mask[..., 0] = False
    model = Prophet(task, growth="flat")
    model.fit(replace(train, mask=mask), replace(validation, mask=mask))
    inputs = test.all().inputs
    mean, _ = model.core(inputs, *model.anomalies(inputs))
    assert (mean[..., 0] == 0).all()
    assert (mean[..., 1] != 0).any()


@installed
def test_saved_model_forecasts_the_same_bits_and_holds_no_record(task: Task, tmp_path: Path) -> None:
    train, validation, test = windows(task, 1.0)
    model = Prophet(task, growth="linear")
    model.fit(train, validation)
    save(model, tmp_path / "model")
    twin = load(tmp_path / "model")
    assert twin.options() == {"growth": "linear"}
    inputs = test.all().inputs
    np.testing.assert_array_equal(twin.predict(inputs), model.predict(inputs))
    text = model.state()["core.curve0"].tobytes().decode()
    assert text.count("2024-") + text.count("2025-") < 60


@installed
def test_fitting_logs_nothing(task: Task, capfd: Any) -> None:
    train, validation, _ = windows(task, 0.0)
    Prophet(task, growth="flat").fit(train, validation)
    assert capfd.readouterr() == ("", "")


@installed
def test_damaged_state_is_refused(task: Task) -> None:
    train, validation, _ = windows(task, 0.0)
    model = Prophet(task, growth="flat")
    model.fit(train, validation)
    state = model.state() | {"core.curve0": np.frombuffer(b"{}", np.uint8)}
    with pytest.raises(ModelError, match="not a Prophet model"):
        Prophet(task).load_state(state)


@installed
def test_unknown_growth_is_refused(task: Task) -> None:
    with pytest.raises(ModelError, match=r"growth must be one of .*found 'wild'"):
        Prophet(task, growth="wild")  # type: ignore[arg-type]


def test_large_networks_are_refused(task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match="prophet: fits every location and target separately, at most 200, found 201"):
        Prophet(task_of(stations=201))


def test_a_missing_library_is_reported_in_one_line(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prophet", None)
    with pytest.raises(ModelError, match=r"pip install 'nightcast\[prophet\]'"):
        Prophet(task)
