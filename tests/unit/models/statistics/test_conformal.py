from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.errors import ModelError
from models.statistics.conformal import HOURS, QuantileTracker, Recalibration, target_limits
from models.statistics.dressing import pinball
from models.task import Task

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
SCORES = np.array([NormalDist().inv_cdf(level) for level in LEVELS], np.float32)
START = np.datetime64("2001-01-01T00:00:00")


def _task(*, step: int = 86_400, limits: tuple[float | None, float | None] = (None, None)) -> Task:
    return Task(
        channels=("wind",),
        targets=("wind",),
        context=2,
        leads=2,
        quantile_levels=LEVELS,
        step_seconds=step,
        locations=("a", "b", "c"),
        longitude=(0.0, 1.0, 2.0),
        latitude=(50.0, 51.0, 52.0),
        transforms=("identity",),
        limits=(limits,),
    )


def _follow(task: Task, spread: Any, issues: int, *, seed: int = 0) -> tuple[Any, Any]:
    """Correct Gaussian forecasts of unit spread, of a truth with another spread by issue; return quantiles and truth.

    The truth of each forecast is known before the next one.
    """
    random = np.random.default_rng(seed)
    tracker = QuantileTracker(task, 2, 1.0)
    shape = (1, 2, 1, 3)
    made, seen = [], []
    for issue in range(issues):
        valid = START + np.timedelta64(task.step_seconds, "s") * np.array([[issue + 1, issue + 2]])
        centre = random.normal(size=shape).astype(np.float32)
        raw = centre[..., None] + SCORES
        truth = (centre + spread(issue) * random.normal(size=shape)).astype(np.float32)
        learnt = tracker.recalibration()
        corrected = learnt(raw, valid, target_limits(task))
        tracker.update(learnt.shifted(raw, valid), truth, valid)
        made.append(corrected)
        seen.append(truth)
    return np.concatenate(made), np.concatenate(seen)


def _coverage(quantiles: Any, truth: Any) -> list[float]:
    pairs = ((2, 4), (1, 5), (0, 6))
    return [float(((truth >= quantiles[..., low]) & (truth <= quantiles[..., high])).mean()) for low, high in pairs]


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_intervals_that_are_too_wide_or_too_narrow_cover_what_they_say(spread: float) -> None:
    quantiles, truth = _follow(_task(), lambda _: spread, 600)
    assert _coverage(quantiles[200:], truth[200:]) == pytest.approx([0.5, 0.8, 0.9], abs=0.035)


def test_a_change_of_spread_is_followed() -> None:
    quantiles, truth = _follow(_task(), lambda issue: 1.0 if issue < 400 else 2.0, 900)
    before, after = slice(200, 400), slice(600, None)
    for part in (before, after):
        assert _coverage(quantiles[part], truth[part]) == pytest.approx([0.5, 0.8, 0.9], abs=0.05)


def test_a_common_bias_is_removed_more_slowly_than_a_wrong_width() -> None:
    task = _task()
    valid = np.array([[START, START]])
    raw = np.broadcast_to(SCORES, (1, 2, 1, 3, 7)).copy()
    biased, narrow = QuantileTracker(task, 2, 1.0), QuantileTracker(task, 2, 1.0)
    biased.update(raw, np.full((1, 2, 1, 3), 9.0, np.float32), valid)
    narrow.update(raw, np.array([[[[-9.0, 9.0, np.nan]]] * 2], np.float32), valid)
    up, wide = biased.recalibration().by_lead[0, 0], narrow.recalibration().by_lead[0, 0]
    assert 0 < up[3] < 0.01
    assert wide[3] == 0
    for shift in (up, wide):  # far from all quantiles, a truth says that the interval is too narrow in any case
        assert (shift[:3] < 0).all()
        assert (shift[4:] > 0).all()
    assert up[6] > -up[0]
    assert wide[6] == pytest.approx(-wide[0])


def test_hours_of_the_day_are_corrected_each() -> None:
    # By day the truth spreads three times as much as by night, which a correction by lead alone cannot tell.
    task = _task(step=3600)
    quantiles, truth = _follow(task, lambda issue: 3.0 if 6 <= (issue + 1) % 24 < 18 else 1.0, 24 * 90)
    late = slice(24 * 45, None)
    hour = (np.arange(len(truth)) + 1) % 24
    for chosen in ((hour >= 7) & (hour < 17), (hour >= 19) | (hour < 5)):
        part = np.flatnonzero(chosen)[np.flatnonzero(chosen) >= late.start]
        assert _coverage(quantiles[part], truth[part])[2] == pytest.approx(0.9, abs=0.05)


def test_steps_of_a_day_have_no_hours() -> None:
    tracker = QuantileTracker(_task(), 2, 1.0)
    raw = np.broadcast_to(SCORES, (1, 2, 1, 3, 7))
    tracker.update(raw, np.ones((1, 2, 1, 3), np.float32), np.array([[START] * 2]))
    assert tracker.recalibration().by_lead.any()
    assert not tracker.recalibration().by_hour.any()


def test_unknown_truth_and_no_cases_change_nothing() -> None:
    task = _task(step=3600)
    tracker = QuantileTracker(task, 2, 1.0)
    raw = np.broadcast_to(SCORES, (4, 2, 1, 3, 7)).astype(np.float32)
    valid = np.broadcast_to(START, (4, 2))
    tracker.update(raw, np.full((4, 2, 1, 3), np.nan, np.float32), valid)
    assert tracker.recalibration()(raw, valid, target_limits(task)).tobytes() == raw.tobytes()


@pytest.mark.parametrize("lowest", [None, 0.0])
@pytest.mark.parametrize("factor", [0.7, 1.0, 1.5])
def test_forecasts_of_rain_are_never_made_much_worse(lowest: float | None, factor: float) -> None:
    # Most days are dry, so several levels are 0 at once, and a shift makes them cross.
    task = _task(limits=(lowest, None))
    tracker, random = QuantileTracker(task, 2, 1.0), np.random.default_rng(0)
    levels, valid = np.array(LEVELS), np.array([[START, START]])
    raw_loss = corrected_loss = 0.0
    for issue in range(1500):
        dry, amount, uniform = random.uniform(0.2, 0.95, 6), random.uniform(1, 6, 6), random.random(6)
        truth, raw = (
            np.where(level <= dry_, 0, -scale * np.log((1 - level) / (1 - np.minimum(dry_, level)))).astype(np.float32)
            for level, dry_, scale in (
                (uniform, dry, amount),
                (levels, dry[:, None], factor * amount[:, None]),
            )
        )
        truth, raw = truth.reshape(1, 2, 1, 3), raw.reshape(1, 2, 1, 3, 7)
        learnt = tracker.recalibration()
        corrected = learnt(raw, valid, target_limits(task))
        tracker.update(learnt.shifted(raw, valid), truth, valid)
        if issue >= 500:
            raw_loss += float(pinball(truth[..., None] - raw, LEVELS).sum())
            corrected_loss += float(pinball(truth[..., None] - corrected, LEVELS).sum())
    assert corrected_loss < raw_loss * (1.005 if factor == 1 else 1)


def test_levels_without_a_mirrored_one_follow_widths_as_fast() -> None:
    shifts = []
    for levels in ((0.25, 0.5, 0.75), (0.2, 0.5, 0.75)):
        tracker = QuantileTracker(replace(_task(), quantile_levels=levels), 2, 1.0)
        raw = np.broadcast_to(np.array([-1, 0, 1], np.float32), (10, 2, 1, 3, 3))
        outside = np.broadcast_to(np.array([9, -9, np.nan], np.float32), (10, 2, 1, 3))
        tracker.update(raw, outside, np.broadcast_to(START, (10, 2)))
        shifts.append(tracker.recalibration().by_lead[0, 0, 2])
    assert shifts[1] == pytest.approx(shifts[0], rel=0.3)


def test_the_hours_of_long_steps_learn_as_fast_as_those_of_an_hour() -> None:
    # What counts is how many forecasts share a valid time: 8 of 8 leads, whatever the step.
    shifts = []
    for hours in (1, 3, 6):
        tracker = QuantileTracker(replace(_task(step=3600 * hours), leads=8), 8, 1.0)
        raw = np.broadcast_to(SCORES, (1, 8, 1, 3, 7))
        tracker.update(raw, np.full((1, 8, 1, 3), 9, np.float32), np.broadcast_to(START, (1, 8)))
        shifts.append(tracker.recalibration().by_hour[0, 0])
    assert shifts[0].any()
    np.testing.assert_array_equal(shifts[0], shifts[1])
    np.testing.assert_array_equal(shifts[0], shifts[2])


def test_a_long_dry_spell_at_the_limit_leaves_the_lower_quantiles_alone() -> None:
    task = _task(limits=(0.0, None))
    tracker = QuantileTracker(task, 2, 1.0)
    raw = np.broadcast_to(np.array([0, 0, 0, 0, 1, 2, 3], np.float32), (500, 2, 1, 3, 7))
    tracker.update(raw, np.zeros((500, 2, 1, 3), np.float32), np.broadcast_to(START, (500, 2)))
    shift = tracker.recalibration().by_lead
    assert not shift[..., :3].any() or (shift[..., :3] > 0).all()
    assert (np.abs(shift) <= 1).all()


def test_many_cases_at_once_move_a_level_by_no_more_than_its_coverage_is_off() -> None:
    task = replace(_task(), quantile_levels=(0.1, 0.5, 0.9))
    tracker = QuantileTracker(task, 2, 1.0)
    scores = np.array([NormalDist().inv_cdf(level) for level in task.quantile_levels], np.float32)
    raw = np.broadcast_to(scores, (100_000, 2, 1, 3, 3))
    outside = np.broadcast_to(np.array([-9.0, 9.0, np.nan], np.float32), (100_000, 2, 1, 3))
    tracker.update(raw, outside, np.broadcast_to(START, (100_000, 2)))
    # Half of the truths are above the level 0.9: 0.4 too many, over the density of a Gaussian, in widths.
    expected = 0.4 / NormalDist().pdf(NormalDist().inv_cdf(0.9)) / float(scores[-1] - scores[0])
    assert tracker.recalibration().by_lead[0, 0, 2] == pytest.approx(expected, rel=0.01)


@given(
    raw=arrays.arrays(np.float32, (2, 2, 1, 3, 7), elements=st.floats(0, 100, width=32)),
    by_lead=arrays.arrays(np.float32, (2, 1, 7), elements=st.floats(-1, 1, width=32)),
    by_hour=arrays.arrays(np.float32, (HOURS, 1, 7), elements=st.floats(-1, 1, width=32)),
)
def test_corrected_quantiles_are_ordered_within_limits_and_the_same_one_by_one(
    raw: Any, by_lead: Any, by_hour: Any
) -> None:
    raw = np.sort(raw, axis=-1)
    recalibration = Recalibration(by_lead, by_hour)
    valid = START + np.arange(4, dtype="timedelta64[h]").reshape(2, 2)
    corrected = recalibration(raw, valid, [(0.0, 100.0)])
    assert corrected.dtype == np.float32
    assert (np.diff(corrected, axis=-1) >= 0).all()
    assert ((corrected >= 0) & (corrected <= 100)).all()
    singly = np.concatenate([recalibration(raw[i : i + 1], valid[i : i + 1], [(0.0, 100.0)]) for i in range(2)])
    assert singly.tobytes() == corrected.tobytes()


def test_a_stored_correction_is_equal_and_a_wrong_one_is_refused() -> None:
    one = Recalibration(np.full((2, 1, 7), 0.1, np.float32), np.full((HOURS, 1, 7), 0.2, np.float32))
    again = Recalibration.from_state(one.state())
    assert again.by_lead.tobytes() == one.by_lead.tobytes()
    assert again.by_hour.tobytes() == one.by_hour.tobytes()
    with pytest.raises(ModelError, match="'by_hour' has shape"):
        Recalibration.from_state({**one.state(), "by_hour": np.zeros((3, 1, 7), np.float32)})


def test_a_forecast_with_the_median_alone_stays_as_it_is() -> None:
    task = replace(_task(), quantile_levels=(0.5,))
    tracker = QuantileTracker(task, 2, 1.0)
    raw = np.zeros((5, 2, 1, 3, 1), np.float32)
    valid = np.broadcast_to(START, (5, 2))
    tracker.update(raw, np.ones((5, 2, 1, 3), np.float32), valid)
    assert tracker.recalibration()(raw, valid, target_limits(task)).tobytes() == raw.tobytes()
