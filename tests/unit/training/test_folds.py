from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from pipeline.errors import NoDataError
from pipeline.features.asof import as_of
from pipeline.features.snapshot import Snapshot
from pipeline.training.fit import fold_windows
from pipeline.training.folds import Folds, split
from tests.conftest import ProductHome
from tests.world import make_rows, take_snapshot


def _split(place: ProductHome) -> tuple[Snapshot, Folds]:
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    return snapshot, split(snapshot)


def test_folds_follow_each_other_in_time_and_have_their_sizes(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(gate={"issues": 40}, training={"validation": 30, "candidates": ["ridge-var"]})
    _, folds = _split(place)
    assert (len(folds.validation), len(folds.holdout)) == (30, 40)
    joined = [*folds.train, *folds.validation, *folds.holdout]
    assert joined == sorted(set(joined))
    assert folds.trained_until == folds.validation[-1]


@pytest.mark.parametrize("shape", [{"step": "1d", "days": 300}, {"step": "6h", "days": 60, "delay": "20h"}])
def test_no_target_of_a_fold_is_known_later_than_the_first_issue_of_the_next(
    fresh: Callable[..., ProductHome], shape: dict[str, object]
) -> None:
    place = fresh(**shape)
    snapshot, folds = _split(place)
    cadence = snapshot.cadence
    for earlier, border in (
        (folds.train, folds.validation[0]),
        (folds.validation, folds.holdout[0]),
        (folds.holdout, place.end),
    ):
        assert max(cadence.lead_times(issue)[-1] for issue in earlier) + cadence.delay <= border


def test_a_target_revised_after_a_fold_ends_is_learnt_as_it_was_before(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(feed={"mode": "live"})
    snapshot, folds = _split(place)
    observed = snapshot.cadence.lead_times(folds.train[-1])[0]
    column = snapshot.frames.index(observed)
    before = snapshot.frames.first[column, 0, 0]
    place.workspace.feed.observations.append(
        make_rows((observed, "S0", 77.0)), at=place.end + timedelta(hours=1), payload="1" * 64
    )

    later = take_snapshot(place.workspace, known_by=place.end + timedelta(hours=2))
    train, holdout = fold_windows(later, folds, "train"), fold_windows(later, folds, "holdout")
    assert train.truth(np.array([len(train) - 1]))[0, 0, 0, 0] == before
    assert as_of(later.frames, later.known_by)[column, 0, 0] == 77
    assert len(holdout) == len(folds.holdout)


def test_the_window_limits_only_the_training_fold(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(training={"window": "100d", "validation": 60, "candidates": ["ridge-var"]})
    _, folds = _split(place)
    assert folds.train[-1] - folds.train[0] == timedelta(days=100)
    assert len(folds.validation) == len(folds.holdout) == 60


def test_too_few_issue_times_are_an_error_with_the_number_found_and_needed(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(days=120)
    with pytest.raises(NoDataError, match=r"^tiny-wind: \d+ matured issue times, training needs at least 170: "):
        _split(place)


def test_a_record_without_matured_issue_times_is_too_short(fresh: Callable[..., ProductHome]) -> None:
    with pytest.raises(NoDataError, match="0 matured issue times"):
        _split(fresh(days=3))
