"""The record read back from windows: every value that any of them knew, without reading them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.statistics.series import collect, transformed
from models.task import Batch, Task


@dataclass
class Counted:
    """Windows of a record that notes which were read; values come known `delay` frames late as inputs."""

    task: Task
    values: np.ndarray
    mask: np.ndarray
    issues: np.ndarray
    delay: int = 0
    read: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.issues)

    def batch(self, index: Any) -> Batch:
        from tests.records import Record

        self.read |= set(np.asarray(index).tolist())
        time = np.arange(len(self.values)) * np.timedelta64(self.task.step_seconds, "s") + np.datetime64("2020-01-01")
        batch = Record(self.task, time.astype("datetime64[s]"), self.values, self.mask, self.issues).batch(index)
        known = batch.inputs.mask.copy()
        if self.delay:
            known[:, -self.delay :] = False
        return replace(batch, inputs=replace(batch.inputs, mask=known))


def windows_of(task: Any, issues: Any, delay: Any = 0, seed: Any = 0) -> Any:
    rng = np.random.default_rng(seed)
    frames = int(max(issues)) + task.leads + 1
    shape = (frames, len(task.channels), len(task.locations))
    values = rng.uniform(1, 50, shape).astype(np.float32)
    return Counted(task, values, rng.random(shape) > 0.2, np.asarray(issues), delay)


def truth(windows: Any) -> Any:
    """What any window knows, frame by frame and one at a time."""
    task = windows.task
    known = np.zeros(windows.mask.shape, bool)
    targets = list(task.target_channels)
    for issue in windows.issues:
        past = np.arange(issue - task.context + 1, issue + 1 - windows.delay)
        known[past] |= windows.mask[past]
        ahead = np.arange(issue + 1, issue + task.leads + 1)[:, None]
        known[ahead, targets] |= windows.mask[ahead, targets]
    first = int(windows.issues.min()) - task.context + 1
    values, known = transformed(task, windows.values[None], known[None], tuple(range(len(task.channels))))
    return values[0, first:], known[0, first:]


@given(
    st.integers(1, 7),
    st.integers(1, 5),
    st.lists(st.integers(0, 40), min_size=1, max_size=40, unique=True),
    st.integers(0, 3),
    st.sampled_from([("wind",), ("wind", "rain")]),
)
def test_nothing_that_any_window_knew_is_lost(
    task_of: Callable[..., Task], context: Any, leads: Any, offsets: Any, delay: Any, channels: Any
) -> None:
    task = task_of(stations=2, channels=channels, context=context, leads=leads)
    windows = windows_of(task, sorted(context - 1 + offset for offset in offsets), min(delay, context - 1))
    series = collect(windows)
    values, known = truth(windows)
    np.testing.assert_array_equal(series.mask, known)
    np.testing.assert_array_equal(series.values, values)


def test_few_windows_are_read_where_they_overlap(task_of: Callable[..., Task]) -> None:
    task = task_of(stations=2, context=24, leads=24)
    windows = windows_of(task, np.arange(23, 2023))
    collect(windows)
    # One in 24, and those that alone reach into the first context.
    assert len(windows.read) <= 2000 / 24 + 24 + 2


def test_all_windows_are_read_where_inputs_know_more(task_of: Callable[..., Task]) -> None:
    windows = windows_of(task_of(stations=2, channels=("wind", "rain")), np.arange(5, 105))
    collect(windows)
    assert len(windows.read) == 100


def test_targets_replace_earlier_inputs(task_of: Callable[..., Task]) -> None:
    """Inputs say 1 throughout, targets 9: only frames before the first target keep the 1."""
    task = task_of(stations=1, context=4, leads=3)
    windows = windows_of(task, np.arange(3, 903))
    windows.mask[:] = True
    real = windows.batch

    def batch(index: Any) -> Any:
        found = real(index)
        inputs = replace(found.inputs, values=np.ones_like(found.inputs.values))
        return replace(found, inputs=inputs, target=np.full_like(found.target, 9))

    windows.batch = batch
    values = collect(windows).values[:, 0, 0]
    np.testing.assert_array_equal(values[:4], 1)
    np.testing.assert_array_equal(values[4:], 3)  # the square root of 9


@pytest.mark.parametrize("count", [1, 2])
def test_a_window_or_two_are_a_record(task_of: Callable[..., Task], count: Any) -> None:
    windows = windows_of(task_of(stations=2), np.arange(5, 5 + count))
    assert len(collect(windows).time) == 6 + 3 + count - 1
