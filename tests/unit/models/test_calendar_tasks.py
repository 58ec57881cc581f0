"""Models of months, quarters, weeks and local days: frames by the calendar, and a year of 12, 4, 52 or 365 steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.catalogue import build
from models.checkpoint import load, save
from models.errors import ModelError
from models.statistics.series import collect
from models.steps import CalendarStep
from models.task import Task
from tests.records import Record

STEPS = ("month", "quarter", "week", "day in Europe/Dublin")
FRAMES = {"month": 240, "quarter": 120, "week": 260, "day in Europe/Dublin": 800}


def _seconds(step: CalendarStep) -> int:
    return int(step.mean.total_seconds())


def _task(task_of: Callable[..., Task], text: str, **changes: Any) -> Task:
    step = CalendarStep.parse(text)
    plain = {"transforms": ("identity",), "limits": ((None, None),), "stations": 2, "context": 14}
    return task_of(step_seconds=_seconds(step), calendar=step, **{**plain, **changes})


def _records(task: Task, pattern: np.ndarray, *, frames: int) -> tuple[Record, Record, Record]:
    """Return training, validation and test records of a value that repeats every year, with some noise."""
    assert task.calendar is not None
    time = task.calendar.starts(360 + np.arange(frames)).astype("datetime64[s]")
    noise = 0.05 * np.random.default_rng(1).normal(size=(frames, 1, len(task.locations)))
    values = (pattern[np.arange(frames) % len(pattern)][:, None, None] + noise).astype(np.float32)
    issues = np.arange(task.context - 1, frames - task.leads)
    first, last = int(0.6 * len(issues)), int(0.8 * len(issues))
    mask = np.ones(values.shape, bool)
    gap = task.leads + task.context
    parts = (issues[:first], issues[first + gap : last], issues[last + gap :])
    return tuple(Record(task, time, values, mask, part) for part in parts)  # type: ignore[return-value]


@pytest.mark.parametrize("text", STEPS)
def test_a_task_survives_json(text: str, task_of: Callable[..., Task]) -> None:
    task = _task(task_of, text)
    assert task.to_json()["calendar"] == text
    assert Task.from_json(task.to_json()) == task
    assert task != task_of(step_seconds=task.step_seconds, stations=2, context=14)


def test_the_json_of_a_fixed_step_has_no_calendar(task_of: Callable[..., Task]) -> None:
    assert "calendar" not in task_of().to_json()


def test_a_task_refuses_a_step_that_contradicts_its_mean(task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match=r"task\.step_seconds: expected 2629746, the mean of a month, found 86400"):
        task_of(calendar=CalendarStep("month"))
    document = _task(task_of, "month").to_json()
    with pytest.raises(ModelError, match="'fortnight' is not a calendar step"):
        Task.from_json({**document, "calendar": "fortnight"})


@pytest.mark.parametrize("text", STEPS)
def test_the_record_behind_windows_has_each_frame_once_at_its_time(text: str, task_of: Callable[..., Task]) -> None:
    task = _task(task_of, text)
    train, *_ = _records(task, np.arange(12.0), frames=FRAMES[text])
    record = collect(train)
    count = int(train.issues[-1]) + task.leads + 1
    np.testing.assert_array_equal(record.time, train.time[:count])
    np.testing.assert_array_equal(record.values, train.values[:count])


@pytest.mark.parametrize(("text", "season", "context"), [("month", 12, 14), ("quarter", 4, 8), ("week", 52, 60)])
def test_a_year_is_the_season(text: str, season: int, context: int, task_of: Callable[..., Task]) -> None:
    task = _task(task_of, text, context=context)
    pattern = np.random.default_rng(0).normal(size=season)
    train, validation, test = _records(task, pattern, frames=FRAMES[text])
    model = build("seasonal-naive", task)
    model.fit(train, validation)
    assert model.state()["core.season"] == season
    assert model.remarks() == ()
    batch = test.all()
    np.testing.assert_allclose(model.predict(batch.inputs)[..., 2], batch.target, atol=0.4)


def test_a_season_beyond_the_context_is_remarked(task_of: Callable[..., Task]) -> None:
    task = _task(task_of, "week")
    model = build("seasonal-naive", task)
    model.fit(*_records(task, np.zeros(52), frames=260)[:2])
    assert model.remarks() == ("a season of 52 steps is longer than the context, so it forecasts climatology",)


@pytest.mark.parametrize(("text", "phases"), [("month", 12), ("quarter", 4)])
def test_climatology_knows_every_month_and_quarter(text: str, phases: int, task_of: Callable[..., Task]) -> None:
    task = _task(task_of, text)
    smooth = np.array([3.0, -1.0, 2.0, 5.0]) if phases == 4 else 5 * np.cos(2 * np.pi * np.arange(12) / 12)
    train, validation, test = _records(task, smooth, frames=FRAMES[text])
    model = build("climatology", task)
    model.fit(train, validation)
    batch = test.all()
    np.testing.assert_allclose(model.predict(batch.inputs)[..., 2], batch.target, atol=0.5)


@pytest.mark.parametrize("text", STEPS)
@pytest.mark.parametrize("name", ["damped-anomaly", "ridge-var", "gradient-boosting", "linear-inverse", "gru"])
def test_models_fit_predict_and_survive_a_checkpoint(
    name: str, text: str, task_of: Callable[..., Task], tmp_path: Any
) -> None:
    task = _task(task_of, text)
    train, validation, test = _records(task, np.random.default_rng(0).normal(size=12), frames=FRAMES[text])
    options: dict[str, Any] = {"gru": {"epochs": 1, "hidden": 4}, "gradient-boosting": {"rounds": 5}}.get(name, {})
    model = build(name, task, **options)
    model.fit(train, validation)
    inputs = test.all().inputs
    forecast = model.predict(inputs)
    assert np.isfinite(forecast).all()
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.task == task
    np.testing.assert_array_equal(again.predict(inputs), forecast)
