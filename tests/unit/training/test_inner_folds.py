"""Inner folds lie before the held-out period, and read nothing that became known in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from pipeline.errors import NoDataError
from pipeline.features.snapshot import Snapshot
from pipeline.times import as_numpy
from pipeline.training.folds import Folds, split
from pipeline.training.inner_folds import InnerFolds, split_inner
from pipeline.training.search.scoring import Scorer, Watch
from tests.conftest import ProductHome
from tests.world import make_rows, take_snapshot

QUIET = Watch(lambda *_: None, lambda *_: None, lambda *_: None)
OPEN = {"gate": {"issues": None}, "training": {"validation": None}}


def _inner(home: ProductHome) -> tuple[Snapshot, Folds, InnerFolds]:
    snapshot = take_snapshot(home.workspace, known_by=home.end)
    folds = split(snapshot)
    return snapshot, folds, split_inner(snapshot, folds)


@pytest.mark.parametrize(
    "shape", [{"days": 400}, {"days": 900, **OPEN}, {"days": 250, **OPEN}, {"step": "6h", "days": 60, **OPEN}]
)
def test_folds_are_ordered_and_purged_before_the_held_out_period(
    fresh: Callable[..., ProductHome], shape: dict[str, object]
) -> None:
    snapshot, folds, inner = _inner(fresh(**shape))
    cadence, border = snapshot.cadence, folds.holdout[0]
    assert len(inner.folds) == 3
    assert inner.scored == tuple(sorted(set(inner.scored)))
    for fold, end in zip(inner.folds, [*(one.holdout[0] for one in inner.folds[1:]), border], strict=True):
        assert min(len(fold.train), len(fold.validation), len(fold.holdout)) > 0
        for earlier, later in (
            (fold.train, fold.validation[0]),
            (fold.validation, fold.holdout[0]),
            (fold.holdout, border),
        ):
            assert max(cadence.lead_times(issue)[-1] for issue in earlier) + cadence.delay <= later
        assert fold.holdout[-1] < end
    assert inner.snapshot.known_by == border


def test_at_most_half_of_the_record_before_is_scored(fresh: Callable[..., ProductHome]) -> None:
    _, _, inner = _inner(fresh(days=400))
    first, last = inner.folds[0].train[0], inner.scored[-1]
    assert inner.scored[0] - first >= (last - first) / 2 - timedelta(days=1)
    assert inner.smallest_training_set == len(inner.folds[0].train)


def test_scores_do_not_change_with_what_became_known_in_the_held_out_period(
    fresh: Callable[..., ProductHome],
) -> None:
    """Neither the held-out truth nor corrections that became known then; what was known before does change them."""
    home = fresh(feed={"mode": "live"}, **OPEN)
    snapshot, folds, inner = _inner(home)

    def scores(inner: InnerFolds) -> list[list[float]]:
        scorer = Scorer(inner, "ridge-var", {}, fit_seconds=60)
        return [fold.tolist() for fold in scorer.score({"lags": 2}, QUIET, ends=float("inf"))]

    expected = scores(inner)
    scored = snapshot.cadence.lead_times(inner.scored[-1])[0]
    home.workspace.feed.observations.append(
        make_rows((scored, "S0", 77.0), (scored - timedelta(days=60), "S1", 88.0)),
        at=home.end + timedelta(hours=1),
        payload="1" * 64,
    )
    later = take_snapshot(home.workspace, known_by=home.end + timedelta(hours=2))
    border = as_numpy(folds.holdout[0]).astype(np.int64)
    frames = later.frames
    unknown = frames.known_at > border
    poisoned = np.where(unknown[:, None], np.float32(1e6), frames.first)
    assert unknown.sum() > 100
    assert later.frames.revisions.values.size == 2
    changed = replace(later, frames=replace(frames, first=poisoned))
    assert scores(split_inner(changed, folds)) == expected

    poisoned = np.where(unknown[:, None], frames.first, frames.first + np.float32(5))
    before = replace(later, frames=replace(frames, first=poisoned))
    assert scores(split_inner(before, folds)) != expected


def test_too_short_a_record_is_one_line(fresh: Callable[..., ProductHome]) -> None:
    home = fresh(days=60, **OPEN)
    with pytest.raises(NoDataError, match=r"tiny-wind: 2[0-9] issue times precede the held-out period"):
        _inner(home)
