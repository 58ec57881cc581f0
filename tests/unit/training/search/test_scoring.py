"""Scores on the inner folds: what is shared between trials, what is reported, and what counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from models.base import Epoch
from models.baselines.reference import Climatology
from models.errors import ModelError
from models.networks import neural
from pipeline.training.evaluate import evaluate
from pipeline.training.folds import split
from pipeline.training.inner_folds import InnerFolds, split_inner
from pipeline.training.recipe import Recipe
from pipeline.training.search.scoring import OutOfTime, Scorer, Scores, Watch
from pipeline.workspace import Workspace
from tests.conftest import ProductHome
from tests.world import end_of, make_product, make_settings, record_rows, take_snapshot

NETWORK = {"base": "climatology", "epochs": 2, "hidden": 4, "frames": 3}
QUIET = Watch(lambda *_: None, lambda *_: None, lambda *_: None)
EVER = float("inf")


@pytest.fixture
def inner(fresh: Callable[..., ProductHome]) -> InnerFolds:
    home = fresh(days=300, gate={"issues": 40})
    snapshot = take_snapshot(home.workspace, known_by=home.end)
    return split_inner(snapshot, split(snapshot))


def test_scores_are_those_of_the_recipe_fitted_to_each_fold(inner: InnerFolds) -> None:
    scorer = Scorer(inner, "ridge-var", {"memory": False, "lags": 1}, fit_seconds=60)
    assert scorer.recipe({"lags": 3}) == Recipe("ridge-var", {"memory": False, "lags": 3})
    found = scorer.score({"lags": 3}, QUIET, ends=EVER)
    for fold, scores in zip(inner.folds, found, strict=True):
        model = Recipe("ridge-var", {"memory": False, "lags": 3}).build(inner.snapshot.task)
        model.fit(*(fold.windows(inner.snapshot, part) for part in ("train", "validation")))
        expected = evaluate(model, fold.windows(inner.snapshot, "holdout")).crps_by_issue
        np.testing.assert_array_equal(scores, expected)


def test_several_variables_are_scored_relative_to_climatology(tmp_path: Path) -> None:
    """Wind, and a pressure that is the wind in units a hundred times as small: both count the same."""
    variables = {"wind_speed": {"units": "m s-1"}, "air_pressure": {"units": "Pa"}}
    product = make_product(
        tmp_path, days=300, feed={"variables": variables}, forecast={"targets": list(variables)}, gate={"issues": 40}
    )
    ws, end = Workspace(product, make_settings(tmp_path)), end_of(product)
    rows = record_rows(product)
    pressure = pc.add(pc.multiply(rows["wind_speed"], 100.0), 90_000.0)
    ws.feed.observations.append(rows.append_column("air_pressure", pressure), at=end, payload="0" * 64)
    snapshot = take_snapshot(ws, known_by=end)
    scorer = Scorer(split_inner(snapshot, split(snapshot)), "climatology", {}, fit_seconds=60)
    for scores in scorer.score({}, QUIET, ends=EVER):
        assert np.nanmean(scores) == pytest.approx(1, abs=0.02)


def test_the_base_of_a_network_is_fitted_once_a_fold(inner: InnerFolds, monkeypatch: pytest.MonkeyPatch) -> None:
    fits, real = [], Climatology.fit

    def fit(self: Climatology, *args: Any, **kwargs: Any) -> None:
        fits.append(self.name)
        real(self, *args, **kwargs)

    monkeypatch.setattr(Climatology, "fit", fit)
    scorer = Scorer(inner, "dlinear", NETWORK, fit_seconds=60)
    first = scorer.score({}, QUIET, ends=EVER)
    again = scorer.score({}, QUIET, ends=EVER)
    assert len(fits) == 3
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    scorer.score({"hidden": 8}, QUIET, ends=EVER)
    assert len(fits) == 3


def test_a_network_reports_its_loss_half_way_and_every_fold(inner: InnerFolds) -> None:
    losses: list[tuple[int, float]] = []
    epochs: list[tuple[int, int]] = []
    folds: list[int] = []

    def on_fold(scores: Scores) -> None:
        folds.append(len(scores))

    watch = Watch(
        lambda fold, loss: losses.append((fold, loss)),
        on_fold,
        lambda fold, epoch: epochs.append((fold, epoch.epoch)),
    )
    Scorer(inner, "dlinear", {**NETWORK, "epochs": 4, "patience": 4}, fit_seconds=60).score({}, watch, ends=EVER)
    assert epochs == [(fold, epoch) for fold in range(3) for epoch in range(1, 5)]
    assert [fold for fold, _ in losses] == [0, 1, 2]
    assert all(loss > 0 for _, loss in losses)
    assert folds == [1, 2, 3]
    losses.clear()
    Scorer(inner, "ridge-var", {}, fit_seconds=60).score({}, watch, ends=EVER)
    assert losses == []


def test_an_exception_of_the_watch_ends_training_at_once(inner: InnerFolds) -> None:
    def stop(fold: int, epoch: Epoch) -> None:
        raise KeyError(epoch.epoch)

    watch = Watch(QUIET.on_loss, QUIET.on_fold, stop)
    with pytest.raises(KeyError, match="1"):
        Scorer(inner, "dlinear", {**NETWORK, "epochs": 4}, fit_seconds=60).score({}, watch, ends=EVER)


def test_each_fit_has_the_time_of_a_retrain_and_one_cut_short_does_not_count(
    inner: InnerFolds, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets: list[float] = []
    real, clock = neural.NeuralModel.fit, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def fit(self: Any, *args: Any, budget_seconds: float, **kwargs: Any) -> None:
        budgets.append(budget_seconds)
        real(self, *args, budget_seconds=None, **kwargs)
        clock[0] += 10.0

    monkeypatch.setattr(neural.NeuralModel, "fit", fit)
    scorer = Scorer(inner, "dlinear", NETWORK, fit_seconds=30)
    with pytest.raises(OutOfTime):  # the second fold would end at 20
        scorer.score({}, QUIET, ends=15.0)
    assert budgets == [15.0]
    clock[0] = 0.0
    with pytest.raises(OutOfTime):  # the first one was cut short
        scorer.score({}, QUIET, ends=9.0)
    assert budgets == [15.0, 9.0]
    clock[0] = 0.0
    assert len(scorer.score({}, QUIET, ends=100.0)) == 3
    assert budgets[2:] == [30.0, 30.0, 30.0]


def test_options_that_do_not_suit_the_task_are_named(inner: InnerFolds) -> None:
    with pytest.raises(ModelError, match=r"lags must lie within 1\.\.5, found 9"):
        Scorer(inner, "ridge-var", {}, fit_seconds=60).score({"lags": 9}, QUIET, ends=EVER)
