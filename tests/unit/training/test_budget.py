"""The time limit of a retrain, by a clock that only models advance."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from models.base import Model
from models.baselines.reference import Persistence
from models.baselines.ridge import RidgeVar
from models.blend import Blend
from models.catalogue import MODELS, Entry
from models.errors import ModelError
from models.networks.neural import NeuralModel
from models.statistics.conformal import QuantileTracker
from pipeline.features.snapshot import Snapshot
from pipeline.training.budget import Budget
from pipeline.training.cost import Cost
from pipeline.training.decision import decide_all
from pipeline.training.fits import Fits, fit_all
from pipeline.training.folds import Folds, split
from pipeline.training.holdout import evaluate_holdout
from tests.conftest import ProductHome
from tests.world import take_snapshot

REAL_LOAD = Entry.load
MINUTE = timedelta(minutes=1)


class Clock:
    """Monotonic time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


class Slow(Persistence):
    """Takes `fixed` seconds for a fit, and `per_window` for each window."""

    name: ClassVar[str] = "slow"
    clock: ClassVar[Clock]
    fixed: ClassVar[float]
    per_window: ClassVar[float]
    fits: ClassVar[list[int]]

    def fit(self, train: Any, *arguments: Any, **options: Any) -> None:
        self.fits.append(len(train))
        self.clock.now += self.fixed + self.per_window * len(train)
        super().fit(train, *arguments, **options)

    def refit(self, judged: Model, windows: Any, **options: Any) -> None:
        self.clock.now += self.fixed + self.per_window * len(windows)
        super().refit(judged, windows, **options)


def _night(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch, clock: Clock, *, fixed: float, per_window: float
) -> tuple[Snapshot, Folds, Fits, Budget]:
    """Fit with `slow` as the only candidate, and a budget of a minute."""
    monkeypatch.setitem(MODELS, "slow", Entry(f"{__name__}:Slow", "takes its time", False))
    monkeypatch.setattr(Entry, "load", lambda self: Slow if self.target.endswith(":Slow") else REAL_LOAD(self))
    for name, value in {"clock": clock, "fixed": fixed, "per_window": per_window, "fits": []}.items():
        monkeypatch.setattr(Slow, name, value, raising=False)
    place = fresh(training={"candidates": ["slow"], "validation": 60, "budget": "1min"})
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds, budget = split(snapshot), Budget(MINUTE)
    return snapshot, folds, fit_all(snapshot, folds, None, budget), budget


def test_a_model_that_fits_into_its_share_is_fitted_to_everything(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    snapshot, folds, fits, budget = _night(fresh, monkeypatch, clock, fixed=0, per_window=0.02)
    trained = len(folds.newest.train)
    assert Slow.fits == [max(20, trained // 16), trained]
    assert fits.fitted["slow"].size == 1
    decide_all(snapshot, folds, evaluate_holdout(snapshot, folds, fits), None, {}, budget)
    assert budget.left > 0


def test_a_slow_model_is_fitted_to_its_newest_data(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    _, folds, fits, budget = _night(fresh, monkeypatch, clock, fixed=0, per_window=0.1)
    assert fits.fitted["slow"].size == 0.5
    assert Slow.fits[-1] == round(0.5 * len(folds.newest.train))
    assert "slow is fitted to the newest 50 % of its training data" in caplog.text
    assert budget.left > 0


def test_fixed_costs_are_told_from_those_of_the_data(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """In proportion to the first trial, a fit of 5.2 s would take 70."""
    _, folds, fits, _ = _night(fresh, monkeypatch, clock, fixed=5, per_window=0.0005)
    trained = len(folds.newest.train)
    assert Slow.fits == [max(20, trained // 16), trained // 4, trained]
    assert fits.fitted["slow"].size == 1


def test_a_model_that_never_fits_is_left_out_with_a_word(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    snapshot, folds, fits, budget = _night(fresh, monkeypatch, clock, fixed=25, per_window=0.1)
    assert "slow" not in fits.fitted
    assert fits.failed["slow"].startswith("left out: it would take about ")
    assert "its share of training.budget is " in fits.failed["slow"]
    decide_all(snapshot, folds, evaluate_holdout(snapshot, folds, fits), None, {}, budget)
    assert budget.left > -0.15 * MINUTE.total_seconds()


def test_a_trial_that_takes_the_whole_share_settles_it(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    _night(fresh, monkeypatch, clock, fixed=0, per_window=2)
    assert len(Slow.fits) == 1


def test_once_the_budget_is_spent_only_climatology_and_persistence_are_fitted(
    fresh: Callable[..., ProductHome], clock: Clock
) -> None:
    place = fresh()
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    budget = Budget(MINUTE)
    clock.now += 120
    fits = fit_all(snapshot, split(snapshot), None, budget)
    assert set(fits.fitted) == {"climatology", "persistence"}
    assert fits.failed["ridge-var"] == "left out: training.budget is spent; raise it, or remove other candidates"


def test_a_baseline_beside_the_refit_keeps_its_judged_fit_once_the_budget_is_spent(
    fresh: Callable[..., ProductHome], clock: Clock
) -> None:
    place = fresh()
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds, budget = split(snapshot), Budget(MINUTE)
    outcome = evaluate_holdout(snapshot, folds, fit_all(snapshot, folds, None, budget))
    clock.now += 120
    (decision,) = decide_all(snapshot, folds, outcome, None, {}, budget)
    assert decision.refit is not None
    assert decision.refit.baselines == decision.judged.baselines


def test_the_correction_of_held_out_forecasts_is_part_of_the_cost(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Here it takes a twentieth of a second for each night, and there is one forecast a night."""
    real = QuantileTracker.update

    def update(self: QuantileTracker, *arguments: Any) -> None:
        clock.now += 0.05
        real(self, *arguments)

    monkeypatch.setattr(QuantileTracker, "update", update)
    place = fresh(training={"budget": "2min"})
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    fits = fit_all(snapshot, split(snapshot))
    for name in ("climatology", "ridge-var"):
        assert fits.fitted[name].cost.issue == pytest.approx(0.05, rel=0.1)


def test_the_checks_of_a_refit_and_the_scores_of_the_fit_before_have_their_time(
    fresh: Callable[..., ProductHome], clock: Clock
) -> None:
    place = fresh(gate={"issues": 60})
    folds, budget = split(take_snapshot(place.workspace, known_by=place.end)), Budget(MINUTE)
    model, baseline = Cost(fit=5.0, issue=0.1), Cost(fit=2.0, issue=0.01)
    checks = 2 * 60 * 0.1
    after = 60 - 8 - 2.0 * len(folds.matured) / len(folds.newest.train)
    assert budget.after_refit([baseline], folds) == pytest.approx(after)
    assert budget.for_refit(model, [baseline], folds) == pytest.approx(after - checks - 60 * 0.1)
    scoring = 60 * (0.1 + 0.01) + 5 * 60 * 0.1
    assert budget.for_fits([model, baseline], [baseline], folds) == pytest.approx(after - checks - scoring)


NETWORK = {"hidden": 4, "epochs": 1}


def test_bases_and_members_are_fitted_once(fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks, a blend of one of them with its base, and the baseline itself: one regression on each fold."""
    counts: dict[type[RidgeVar | NeuralModel], int] = {RidgeVar: 0, NeuralModel: 0}
    for kind in counts:
        real = kind.fit

        def fit(self: Any, train: Any, *arguments: Any, kind: Any = kind, real: Any = real, **options: Any) -> None:
            counts[kind] += len(train) > 100  # not the trials
            real(self, train, *arguments, **options)

        monkeypatch.setattr(kind, "fit", fit)
    place = fresh(
        training={
            "candidates": ["blend", "dlinear", "gru"],
            "options": {
                "dlinear": {"epochs": 1},
                "gru": NETWORK,
                "blend": {"members": ["gru", "ridge-var"], "gru.hidden": 4, "gru.epochs": 1},
            },
            "validation": 60,
        }
    )
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds = split(snapshot)
    fits = fit_all(snapshot, folds)
    assert not fits.failed
    assert counts == {RidgeVar: 1, NeuralModel: 2}
    blend = fits.fitted["blend"].model
    assert isinstance(blend, Blend)
    alone = Blend(snapshot.task, **blend.options())
    fold = folds.newest
    alone.fit(fold.windows(snapshot, "train"), fold.windows(snapshot, "validation"), seed=place.product.training.seed)
    own, shared = alone.state(), blend.state()
    assert own.keys() == shared.keys()
    assert all((own[key] == shared[key]).all() for key in own)


def test_a_network_whose_base_failed_says_so(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(self: RidgeVar, *arguments: object, **options: object) -> None:
        raise ModelError("no")

    monkeypatch.setattr(RidgeVar, "fit", fit)
    place = fresh(training={"candidates": ["gru"], "options": {"gru": NETWORK}, "validation": 60})
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    fits = fit_all(snapshot, split(snapshot))
    assert fits.failed == {"ridge-var": "no", "gru": "gru: ridge-var is needed for it and could not be fitted"}
