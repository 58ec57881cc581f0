from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.task import Inputs, Task
from pipeline.features.snapshot import Snapshot
from pipeline.times import as_numpy
from pipeline.training.folds import Folds, split
from pipeline.training.recalibration import Recalibrations, score_recalibrated, score_without_locations
from tests.conftest import ProductHome
from tests.world import take_snapshot

SCORES = np.array([-1.64, -1.28, -0.67, 0, 0.67, 1.28, 1.64], np.float32)


class Sharp:
    """Forecasts the last value with intervals that are too narrow."""

    def __init__(self, task: Task, spread: float = 0.8) -> None:
        self.task, self.spread = task, np.float32(spread)

    def predict(self, inputs: Inputs) -> NDArray[np.float32]:
        targets = list(self.task.target_channels)
        last = np.where(inputs.mask[:, -1][:, targets], inputs.values[:, -1][:, targets], 6)
        quantiles = last[:, None, ..., None] + self.spread * SCORES
        return np.repeat(quantiles, self.task.leads, axis=1).astype(np.float32)


@pytest.fixture
def snapshot(fresh: Callable[..., ProductHome]) -> Snapshot:
    home = fresh(days=400, gate={"issues": 120})
    return take_snapshot(home.workspace, known_by=home.end)


def _scored(snapshot: Snapshot, folds: Folds, **options: Any) -> tuple[Any, Recalibrations]:
    return score_recalibrated([Sharp(snapshot.task, **options)] * len(folds.folds), snapshot, folds)  # type: ignore[list-item]


def _changed(snapshot: Snapshot, since: Any, change: Callable[[Any], Any]) -> Snapshot:
    """Return the snapshot with other values from a valid time on."""
    frames = snapshot.frames
    values = frames.first.copy()
    later = frames.times >= as_numpy(since)
    values[later] = change(values[later])
    return replace(snapshot, frames=replace(frames, first=values))


def test_intervals_cover_more_while_nothing_is_known_of_the_first_day(snapshot: Snapshot) -> None:
    folds = split(snapshot)
    scores, recalibrations = _scored(snapshot, folds)
    assert not recalibrations.applied[0].by_lead.any()
    assert recalibrations.since[0] == folds.holdout[0]
    assert scores.intervals is not None
    assert scores.intervals.nominal == (0.9, 0.8, 0.5)
    assert np.nanmean(scores.covered[:3]) < 0.75
    assert np.nanmean(scores.covered[60:]) == pytest.approx(0.9, abs=0.05)
    assert scores.coverage == pytest.approx(scores.intervals.coverage[0])


def test_a_correction_knows_only_what_was_due_before(snapshot: Snapshot) -> None:
    folds = split(snapshot)
    moment = folds.holdout[40]
    _, before = _scored(snapshot, folds)
    # Whatever is due after the moment must not matter until then: of its own day's forecasts, and of those still open.
    other = _changed(snapshot, moment - snapshot.cadence.delay + timedelta(seconds=1), lambda values: 50 - values)
    _, after = _scored(other, folds)
    same = [
        one.by_lead.tobytes() == two.by_lead.tobytes() for one, two in zip(before.applied, after.applied, strict=True)
    ]
    number = before.since.index(moment)
    assert all(same[: number + 1])
    assert not any(same[number + 3 :])
    assert before.newest.by_lead.tobytes() != after.newest.by_lead.tobytes()


def test_a_value_that_arrives_late_is_learnt_from_at_the_end_only(snapshot: Snapshot) -> None:
    folds = split(snapshot)
    frames = snapshot.frames
    known_at = frames.known_at.copy()
    late = frames.times >= as_numpy(folds.holdout[10])
    known_at[late] += 30 * 86_400_000_000
    known_at = np.minimum(known_at, as_numpy(snapshot.known_by).astype(np.int64))
    _, found = _scored(replace(snapshot, frames=replace(frames, known_at=known_at, summary=None)), folds)
    settled = {one.by_lead.tobytes() for one in found.applied[15:]}
    assert len(settled) == 1
    assert found.newest.by_lead.tobytes() not in settled


def test_the_size_of_a_batch_changes_nothing(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    folds = split(snapshot)
    scores, whole = _scored(snapshot, folds)
    monkeypatch.setattr("pipeline.training.evaluate.CHUNK", 7)
    again, parts = _scored(snapshot, folds)
    np.testing.assert_array_equal(scores.crps, again.crps)
    assert whole.newest.by_lead.tobytes() == parts.newest.by_lead.tobytes()
    assert whole.since == parts.since


def test_forecasts_of_one_day_share_a_correction(fresh: Callable[..., ProductHome]) -> None:
    home = fresh(
        days=20, step="1h", delay="2h", context=6, horizon=4, gate={"issues": 120}, training={"validation": 60}
    )
    snapshot = take_snapshot(home.workspace, known_by=home.end)
    folds = split(snapshot)
    scores, recalibrations = _scored(snapshot, folds)
    assert len(recalibrations.applied) == 5
    assert {after - before for before, after in zip(recalibrations.since, recalibrations.since[1:], strict=False)} == {
        timedelta(days=1)
    }
    for issue in folds.holdout[:24]:
        assert not recalibrations.at(issue).by_lead.any()
    assert recalibrations.at(folds.holdout[24]).by_lead.any()
    assert recalibrations.newest.by_hour.any()
    assert np.nanmean(scores.covered[96:]) > np.nanmean(scores.covered[:24])


def test_an_outage_is_scored_with_the_corrections_of_the_complete_input(snapshot: Snapshot) -> None:
    folds = split(snapshot)
    model: Any = Sharp(snapshot.task)
    scores, recalibrations = score_recalibrated([model], snapshot, folds)
    none = np.zeros(len(snapshot.locations), bool)
    same = score_without_locations([model], snapshot, folds, recalibrations, none)
    np.testing.assert_array_equal(scores.crps, same.crps)
    withheld = score_without_locations([model], snapshot, folds, recalibrations, ~none)
    np.testing.assert_array_equal(np.isfinite(withheld.crps), np.isfinite(scores.crps))
    assert withheld.mean_crps > scores.mean_crps


def test_of_a_large_grid_a_sample_of_cells_is_enough(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    folds = split(snapshot)
    monkeypatch.setattr("pipeline.training.recalibration._MAX_LOCATIONS", 2)
    scores, sampled = _scored(snapshot, folds)
    assert scores.crps.shape[-1] == 4
    assert np.nanmean(scores.covered[60:]) == pytest.approx(0.9, abs=0.05)
    frames = snapshot.frames
    values = frames.first.copy()
    values[:, :, 1:3] += 40  # the sample is the first and the last
    _, same = _scored(replace(snapshot, frames=replace(frames, first=values)), folds)
    assert same.newest.by_lead.tobytes() == sampled.newest.by_lead.tobytes()
