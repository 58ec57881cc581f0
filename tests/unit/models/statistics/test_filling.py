"""Gaps filled from other locations, against the moments of the record without gaps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from models.statistics import filling
from models.statistics.filling import fill
from models.task import Task

FRAMES = 4000
PERSISTENCE = 0.8


@pytest.fixture
def record(task_of: Callable[..., Task]) -> Callable[..., tuple[Task, Any]]:
    """A task and an autoregressive record of stations whose correlation is 1 - noise."""

    def make(stations: int, noise: float = 0.3, channels: tuple[str, ...] = ("wind",)) -> tuple[Task, Any]:
        rng = np.random.default_rng(1)
        shape = (FRAMES, len(channels), stations)
        shock = np.sqrt(1 - noise) * rng.normal(size=(FRAMES, 1, 1)) + np.sqrt(noise) * rng.normal(size=shape)
        values = np.zeros(shape)
        for frame in range(1, FRAMES):
            values[frame] = PERSISTENCE * values[frame - 1] + np.sqrt(1 - PERSISTENCE**2) * shock[frame]
        return task_of(stations=stations, channels=channels), values.astype(np.float32)

    return make


def gaps(kind: str, shape: Any) -> Any:
    rng = np.random.default_rng(2)
    frame, place = np.arange(shape[0])[:, None, None], np.arange(shape[2])
    if kind == "scattered":
        return rng.random(shape) < 0.5
    if kind == "spells":
        return np.broadcast_to((frame + 37 * place) % 100 < 50, shape)
    assert kind == "never two together"
    return np.broadcast_to((frame + place) % 3 == 0, shape)


def filled_record(task: Task, values: Any, known: Any, most: int) -> filling.FilledRecord:
    """Fill a record whose missing values are 0, as those of a climate's anomalies are."""
    return fill(task, np.where(known, values, np.float32(0)), known, most)


def products(filled: filling.FilledRecord, lag: int) -> Any:
    """Return the mean products at a lag, with what the gaps took."""
    flat = filled.values.reshape(len(filled.values), -1)
    lost = filled.lost(np.array([0]), np.array([lag]))
    return flat[: len(flat) - lag].T @ flat[lag:] / (len(flat) - lag) + lost


def test_a_complete_record_stays_as_it_is(record: Callable[..., tuple[Task, Any]]) -> None:
    task, values = record(3)
    filled = fill(task, values, np.ones(values.shape, bool), 4)
    np.testing.assert_array_equal(filled.values, values)
    assert (filled.information == 1).all()
    assert not filled.lost(np.arange(2), np.arange(5)).any()


@pytest.mark.parametrize(
    ("kind", "stations", "noise"),
    [
        *product(("scattered", "spells"), (1, 2, 6), (0.1, 0.3, 1.0)),
        # Nothing tells how two stations are related that never report together.
        *product(("never two together",), (1, 6), (0.3, 1.0)),
    ],
)
def test_moments_are_those_of_the_record_without_gaps(
    kind: str, stations: int, noise: float, record: Callable[..., tuple[Task, Any]]
) -> None:
    """Whatever the pattern, and whether others know what is missing (noise 0.1) or nothing of it (noise 1)."""
    task, values = record(stations, noise)
    filled = filled_record(task, values, gaps(kind, values.shape), 6)
    flat = values.reshape(FRAMES, -1)
    for lag in (0, 1, 3):
        truth = flat[: FRAMES - lag].T @ flat[lag:] / (FRAMES - lag)
        found = products(filled, lag)
        np.testing.assert_allclose(np.diag(found), np.diag(truth), atol=0.12)
        np.testing.assert_allclose(found.mean(), truth.mean(), atol=0.12)


def test_a_gap_holds_what_other_stations_and_channels_tell_of_it(record: Callable[..., tuple[Task, Any]]) -> None:
    task, values = record(4, 0.05, ("wind", "gust"))
    known = gaps("scattered", values.shape)
    filled = filled_record(task, values, known, 3)
    np.testing.assert_array_equal(filled.values[known], values[known])
    error = np.square(filled.values - values)[~known].mean()
    assert error < 0.15 * values.var()
    claimed = 1 - filled.information[~known].mean()
    assert claimed == pytest.approx(error / values.var(), abs=0.05)


def test_frames_in_which_nothing_is_known_hold_the_climate(record: Callable[..., tuple[Task, Any]]) -> None:
    task, values = record(3)
    known = np.ones(values.shape, bool)
    known[1000:3000] = False
    filled = filled_record(task, values, known, 3)
    assert not filled.values[1000:3000].any()
    assert not filled.information[1000:3000].any()


def test_a_silent_station_is_like_the_mean_of_the_network(record: Callable[..., tuple[Task, Any]]) -> None:
    task, values = record(5, 0.2)
    known = np.ones(values.shape, bool)
    known[..., 2] = False
    found = products(filled_record(task, values, known, 3), 0)
    assert found[2, 2] == pytest.approx(np.delete(np.diag(found), 2).mean(), rel=0.05)
    assert found[2, 0] == pytest.approx(found[1, 0], rel=0.1)


def test_large_networks_are_filled_in_groups(
    record: Callable[..., tuple[Task, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, values = record(8, 0.1)
    monkeypatch.setattr(filling, "_MAX_OPERATIONS", FRAMES * 8 / 3)
    groups = filling._groups(filling._points(task), 3)
    assert sorted(np.concatenate(groups).tolist()) == list(range(8))
    assert max(len(group) for group in groups) <= 3
    known = gaps("scattered", values.shape)
    alone = filled_record(task, values, known, 3)
    assert not alone.values[~known].any()  # groups of one station know nothing of each other
    np.testing.assert_allclose(np.diag(products(alone, 1)), PERSISTENCE, atol=0.15)
