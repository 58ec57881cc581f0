from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from pipeline.errors import NoDataError
from pipeline.features.asof import as_of
from pipeline.features.snapshot import Snapshot
from pipeline.training.folds import Folds, split
from tests.conftest import ProductHome
from tests.world import make_rows, take_snapshot


def _split(place: ProductHome) -> tuple[Snapshot, Folds]:
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    return snapshot, split(snapshot)


def test_folds_follow_each_other_in_time_and_have_their_sizes(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(gate={"issues": 40}, training={"validation": 30, "candidates": ["ridge-var"]})
    _, folds = _split(place)
    (fold,) = folds.folds
    assert (len(fold.validation), len(fold.holdout)) == (30, 40)
    joined = [*fold.train, *fold.validation, *fold.holdout]
    assert joined == sorted(set(joined))
    assert (fold.trained_until, fold.data_until) == (fold.validation[-1], fold.holdout[0])
    assert set(joined) < set(folds.matured)


NONE = {"gate": {"issues": None}, "training": {"validation": None}}


@pytest.mark.parametrize(
    "shape",
    [
        {"step": "1d", "days": 300},
        {"step": "6h", "days": 60, "delay": "20h"},
        {"step": "1d", "days": 300, **NONE},
        {"step": "6h", "days": 60, "delay": "20h", **NONE},
    ],
)
def test_no_target_of_a_fold_is_known_later_than_the_first_issue_of_the_next(
    fresh: Callable[..., ProductHome], shape: dict[str, object]
) -> None:
    place = fresh(**shape)
    snapshot, folds = _split(place)
    cadence = snapshot.cadence
    for fold in folds.folds:
        for earlier, border in (
            (fold.train, fold.validation[0]),
            (fold.validation, fold.holdout[0]),
            (fold.holdout, place.end),
        ):
            assert max(cadence.lead_times(issue)[-1] for issue in earlier) + cadence.delay <= border


def test_a_target_revised_after_a_fold_ends_is_learnt_as_it_was_before(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(feed={"mode": "live"})
    snapshot, folds = _split(place)
    fold = folds.newest
    observed = snapshot.cadence.lead_times(fold.train[-1])[0]
    column = snapshot.frames.index(observed)
    before = snapshot.frames.first[column, 0, 0]
    place.workspace.feed.observations.append(
        make_rows((observed, "S0", 77.0)), at=place.end + timedelta(hours=1), payload="1" * 64
    )

    later = take_snapshot(place.workspace, known_by=place.end + timedelta(hours=2))
    train, holdout = fold.windows(later, "train"), fold.windows(later, "holdout")
    assert train.truth(np.array([len(train) - 1]))[0, 0, 0, 0] == before
    assert as_of(later.frames, later.known_by)[column, 0, 0] == 77
    assert len(holdout) == len(fold.holdout)


def test_the_window_limits_only_the_training_fold(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(training={"window": "100d", "validation": 60, "candidates": ["ridge-var"]})
    (fold,) = _split(place)[1].folds
    assert fold.train[-1] - fold.train[0] == timedelta(days=100)
    assert len(fold.validation) == len(fold.holdout) == 60


def test_too_few_issue_times_are_an_error_with_the_number_found_and_needed(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(days=120)
    # 120 days without a context of 5 days and a horizon of 2: 114. Of 54 before those held out, the last one overlaps.
    expected = (
        r"^tiny-wind: of 114 matured issue times, 60 are to be held out, which leaves 53 to validate on and 0 to train "
        r"on; needed are 60 and 50\. .*lower or leave out gate\.issues and training\.validation in the product file$"
    )
    with pytest.raises(NoDataError, match=expected):
        _split(place)


def test_issue_times_between_the_periods_count_in_what_is_needed(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(days=180, horizon=20, training={"candidates": ["ridge-var"], "validation": 20})
    with pytest.raises(NoDataError, match=r"leaves 20 to validate on and 3\d to train on; needed are 20 and 50\. "):
        _split(place)


def test_a_record_without_matured_issue_times_is_too_short(fresh: Callable[..., ProductHome]) -> None:
    with pytest.raises(NoDataError, match="0 matured issue times"):
        _split(fresh(days=3))


def test_by_default_the_newest_year_is_held_out_of_a_long_record(fresh: Callable[..., ProductHome]) -> None:
    _, folds = _split(fresh(days=5 * 365, **NONE))
    (fold,) = folds.folds
    assert fold.holdout == folds.holdout == folds.matured[-366:]
    assert folds.cases == 366 // 2  # horizon of two days
    before = [issue for issue in folds.matured if issue < fold.holdout[0]]
    assert len(fold.validation) == pytest.approx(len(before) / 5, abs=1)


def test_a_shorter_record_is_held_out_in_folds_that_cover_half_of_it(fresh: Callable[..., ProductHome]) -> None:
    _, folds = _split(fresh(days=300, **NONE))
    assert len(folds.folds) == 4
    assert folds.holdout == folds.matured[-len(folds.holdout) :]
    assert len(folds.holdout) == pytest.approx(len(folds.matured) / 2, abs=1)
    trained = [fold.trained_until for fold in folds.folds]
    assert trained == sorted(set(trained))


def test_an_hourly_record_is_thinned_evenly_over_all_hours(fresh: Callable[..., ProductHome]) -> None:
    _, folds = _split(fresh(days=200, step="1h", delay="1h", horizon=24, context=24, stations=1, **NONE))
    assert len(folds.holdout) <= 1500 < len(folds.matured) / 2
    hours = [sum(issue.hour == hour for issue in folds.holdout) for hour in range(24)]
    assert min(hours) > 0.9 * max(hours)
    # 24 leads after up to an hour of delay, of which every 1.6th hour is issued
    assert folds.cases == pytest.approx(100 * 24 / 25, abs=2)


def test_thirty_issue_times_are_enough_and_fewer_are_an_error(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(days=40, **NONE)
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds = split(snapshot)
    assert len(folds.matured) == 40 - 5 - 1
    assert all(fold.train and fold.validation and fold.holdout for fold in folds.folds)
    early = take_snapshot(place.workspace, known_by=folds.matured[-8])
    with pytest.raises(NoDataError, match=r"\d+ matured issue times, training needs at least 30; load more history"):
        split(early)
