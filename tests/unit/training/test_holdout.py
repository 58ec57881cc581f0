from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.baselines.reference import Persistence
from models.baselines.ridge import RidgeVar
from models.catalogue import MODELS, Entry, build
from models.errors import DivergedError, ModelError
from models.task import Task
from pipeline.config import Product
from pipeline.errors import ConfigError
from pipeline.features.windows import make_task
from pipeline.locations import read_locations
from pipeline.times import Cadence
from pipeline.training import fit, holdout, recipe
from pipeline.training.comparison import compare_challenger
from pipeline.training.cost import Cost
from pipeline.training.decision import decide_all
from pipeline.training.evaluate import Evaluation
from pipeline.training.fit import (
    REQUIRED_BASELINES,
    baseline_names,
    best_on_validation,
    check_candidates,
    scale_by_climatology,
)
from pipeline.training.fits import fit_all
from pipeline.training.folds import split
from pipeline.training.holdout import evaluate_holdout, training_key
from pipeline.training.recipe import Champion, Recipe
from pipeline.workspace import Workspace
from tests.conftest import ProductHome
from tests.world import take_snapshot

REAL_LOAD = Entry.load
DIVERGED = DivergedError("attention-convlstm", epoch=1, step=2)
FAULTS = [
    DIVERGED,
    ModelError("bad options"),
    RuntimeError("CUDA out of memory"),
    MemoryError("no room"),
    np.linalg.LinAlgError("singular"),
]


def check(product: Product) -> dict[str, str]:
    task = make_task(product, Cadence.of(product), read_locations(product.feed))
    return check_candidates(product, task)


def _fail(monkeypatch: pytest.MonkeyPatch, which: str, error: Exception) -> None:
    def failing(name: str, *arguments: Any, **options: Any) -> Any:
        if name == which:
            raise error
        return build(name, *arguments, **options)

    monkeypatch.setattr(recipe, "build", failing)


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_a_candidate_that_fails_is_recorded_and_the_others_go_on(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    place = fresh(training={"candidates": ["attention-convlstm", "ridge-var"], "validation": 60})
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds = split(snapshot)
    _fail(monkeypatch, "attention-convlstm", error)
    fits = fit_all(snapshot, folds)
    assert sorted(fits.fitted) == sorted(baseline_names(grid=False))
    assert str(error) in fits.failed["attention-convlstm"]
    outcome = evaluate_holdout(snapshot, folds, fits)
    assert [one.name for one in outcome.challengers] == ["ridge-var"]
    assert set(outcome.holdout) == set(fits.fitted)
    assert outcome.failed == fits.failed


def test_a_candidate_that_breaks_the_contract_of_forecasts_has_no_scores(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its quantiles are in reverse order: a correction would order them, and it would be the best of all."""
    place = fresh(training={"candidates": ["ridge-var"], "validation": 60})
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds = split(snapshot)
    good = RidgeVar.predict
    monkeypatch.setattr(RidgeVar, "predict", lambda self, inputs: good(self, inputs)[..., ::-1])
    outcome = evaluate_holdout(snapshot, folds, fit_all(snapshot, folds))
    assert "ridge-var" not in outcome.holdout
    words = (
        r"cannot forecast the held-out issue times: wind_speed: \d+ of 56 values are below the quantile before, first "
    )
    assert re.match(words, outcome.failed["ridge-var"])


def test_without_a_fitted_candidate_the_best_baseline_challenges(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = fresh(training={"candidates": ["attention-convlstm"], "validation": 60})
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds = split(snapshot)
    _fail(monkeypatch, "attention-convlstm", DIVERGED)
    outcome = evaluate_holdout(snapshot, folds, fit_all(snapshot, folds))
    assert outcome.candidates == ()
    (challenger,) = outcome.challengers
    assert challenger is min(outcome.baselines, key=lambda one: one.validation.mean_crps)


def test_without_any_challenger_climatology_or_persistence_serves_and_stays_a_fallback(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = fresh(training={"candidates": ["attention-convlstm"], "validation": 60})
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds = split(snapshot)
    _fail(monkeypatch, "attention-convlstm", DIVERGED)
    monkeypatch.setattr(holdout, "baseline_names", lambda **_: REQUIRED_BASELINES)
    outcome = evaluate_holdout(snapshot, folds, fit_all(snapshot, folds))
    assert outcome.challengers == ()
    (decision,) = decide_all(snapshot, folds, outcome, None, {})
    best, other = outcome.baselines
    assert decision.serves
    assert decision.fitted is best
    assert outcome.holdout[best.name].mean_crps < outcome.holdout[other.name].mean_crps
    assert decision.verdict.reason == (
        "first champion, the baseline with the lowest CRPS on held-out forecasts; no candidate could be trained"
    )
    for fits in (decision.judged, decision.refit):
        assert fits is not None
        assert [*fits.baselines] == [other.name, best.name]


def test_a_network_needs_more_issue_times_than_a_baseline(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(
        days=60,
        gate={"issues": None},
        training={"candidates": ["attention-convlstm", "ridge-var"], "validation": None},
    )
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    fits = fit_all(snapshot, split(snapshot))
    words = "left out: it needs 50 issue times to train on, and a fold of this record has 20"
    assert fits.failed == {"attention-convlstm": words}
    assert "ridge-var" in fits.fitted


def test_the_champions_recipe_is_fitted_once_under_the_name_of_an_equal_one(
    fresh: Callable[..., ProductHome],
) -> None:
    place = fresh()
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds = split(snapshot)
    equal = fit_all(snapshot, folds, Champion(3, Recipe("ridge-var")))
    assert (equal.champion, len(equal.fitted)) == ("ridge-var", len(baseline_names(grid=False)))
    other = fit_all(snapshot, folds, Champion(3, Recipe("ridge-var", {"lags": 2})))
    assert other.champion == "champion version 3"
    assert other.fitted["champion version 3"].model.options() != other.fitted["ridge-var"].model.options()
    gone = fit_all(snapshot, folds, Champion(3, Recipe("ridge-var", {"lags": 99})))
    assert gone.champion is None
    assert "lags must lie" in gone.failed["champion version 3"]


def test_a_baseline_that_fails_stops_the_retrain(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = fresh()
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    _fail(monkeypatch, "persistence", ModelError("broken"))
    with pytest.raises(ModelError, match="broken"):
        fit_all(snapshot, split(snapshot))


def test_a_score_that_is_not_a_number_is_a_failure(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = fresh()
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    nothing = np.full((2, 2, 1, 4), np.nan)
    monkeypatch.setattr(fit, "evaluate", lambda *_: Evaluation(nothing, nothing, nothing))
    with pytest.raises(ModelError, match="not a finite number"):
        fit_all(snapshot, split(snapshot))


def test_the_best_on_validation_is_the_challenger() -> None:
    def fitted(name: str, crps: float) -> fit.FittedModel:
        scores = np.full((1, 1, 1, 1), crps)
        return fit.FittedModel(name, (), Evaluation(scores, scores, scores), (), Cost(0.0, 0.0))

    best = best_on_validation([fitted("a", 2.0), fitted("b", 1.0), fitted("c", 3.0)])
    assert best is not None
    assert best.name == "b"
    assert best_on_validation([]) is None


def test_a_challenger_that_fails_in_an_outage_is_refused_and_the_retrain_goes_on(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = fresh()
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds = split(snapshot)
    fits = fit_all(snapshot, folds)

    def fail(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(holdout, "score_without_locations", fail)
    outcome = evaluate_holdout(snapshot, folds, fits)
    (decision,) = decide_all(snapshot, folds, outcome, None, {})
    verdict = decision.verdict
    assert (verdict.best_candidate, verdict.challenger, verdict.untested) == ("ridge-var", "ridge-var", True)
    assert "; the gate would not promote it over a champion: " in verdict.reason
    assert verdict.refused[-1].kind == "outage_scores_missing"
    assert "; some forecasts have no score while some stations are missing" in verdict.reason


@pytest.mark.parametrize(("stations", "withheld"), [(1, 0), (2, 1), (3, 1), (4, 1), (8, 2), (12, 3)])
def test_a_quarter_of_the_stations_is_withheld_and_never_all(
    fresh: Callable[..., ProductHome], stations: int, withheld: int
) -> None:
    product = fresh().product
    mask = holdout._withheld_locations(stations, product)
    assert (len(mask), mask.sum()) == (stations, withheld)
    np.testing.assert_array_equal(mask, holdout._withheld_locations(stations, product))


def test_equal_data_make_an_equal_key_and_any_difference_another(fresh: Callable[..., ProductHome]) -> None:
    place = fresh()
    product = place.product

    def key(**changed: Any) -> str:
        other = product.model_copy(update=changed).within(product.folder)
        snapshot = take_snapshot(Workspace(other, place.settings), known_by=changed.pop("at", place.end))
        return training_key(snapshot, split(snapshot))

    assert key() == key()
    changed: list[dict[str, Any]] = [
        {"gate": product.gate.model_copy(update={"issues": 50})},
        {"training": product.training.model_copy(update={"seed": 1})},
        {"forecast": product.forecast.model_copy(update={"context": 6})},
    ]
    assert len({key(), *(key(**one) for one in changed)}) == 4


def test_an_unknown_candidate_is_an_error_that_lists_the_known_ones(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(training={"candidates": ["ridge-vor"], "validation": 60})
    with pytest.raises(ConfigError, match=r"unknown model 'ridge-vor'.*ridge-var"):
        check(place.product)


def test_a_baseline_that_is_a_candidate_is_a_rival_of_the_others(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(training={"candidates": ["damped-anomaly"], "validation": 60})
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds = split(snapshot)
    outcome = evaluate_holdout(snapshot, folds, fit_all(snapshot, folds))
    first, second = outcome.challengers
    assert (first.name, second.name) == ("damped-anomaly", "ridge-var")
    rivals = [rival.name for rival in compare_challenger(snapshot, folds, outcome, first, None, {}).rivals]
    assert set(rivals) == set(baseline_names(grid=False)) - {"damped-anomaly"}
    rivals = [rival.name for rival in compare_challenger(snapshot, folds, outcome, second, None, {}).rivals]
    assert set(rivals) == set(baseline_names(grid=False)) - {"ridge-var"}


def test_a_baseline_for_grids_alone_is_no_rival_at_stations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "of-grids", Entry("models.baselines.reference:Persistence", "for grids", True, True))
    assert set(baseline_names(grid=True)) - set(baseline_names(grid=False)) >= {"of-grids"}
    assert "of-grids" not in baseline_names(grid=False)


class Unfit(Persistence):
    """A baseline that no task suits."""

    def __init__(self, task: Task) -> None:
        raise ModelError("unfit: 9999 predictors")


def test_a_baseline_that_does_not_suit_the_task_is_left_out_with_a_note(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "unfit", Entry(f"{__name__}:Unfit", "for no task", True))
    monkeypatch.setattr(Entry, "load", lambda self: Unfit if self.target.endswith("Unfit") else REAL_LOAD(self))
    place = fresh(training={"candidates": ["climatology"], "validation": 60})
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds = split(snapshot)
    fits = fit_all(snapshot, folds)
    assert fits.failed == {"unfit": "unfit: 9999 predictors"}
    trained = evaluate_holdout(snapshot, folds, fits)
    assert {"persistence", "ridge-var"} <= {one.name for one in trained.baselines}
    assert "unfit" not in trained.holdout


@pytest.mark.parametrize("name", REQUIRED_BASELINES)
def test_persistence_and_climatology_are_never_left_out(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place = fresh()
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    _fail(monkeypatch, name, ModelError("unfit"))
    with pytest.raises(ModelError, match="unfit"):
        fit_all(snapshot, split(snapshot))


def test_several_variables_count_the_same_on_validation() -> None:
    def fitted(name: str, first: float, second: float) -> fit.FittedModel:
        crps = np.array([first, second]).reshape(1, 1, 2, 1)
        return fit.FittedModel(name, (), Evaluation(crps, crps, crps), (), Cost(0.0, 0.0))

    # In hectopascals and metres per second: a is 20 hPa better and loses half of the skill in wind.
    models = [fitted("a", 980.0, 1.5), fitted("b", 1000.0, 1.0), fitted("climatology", 1000.0, 2.0)]
    scaled = scale_by_climatology(models)
    assert [one.validation.mean_crps for one in scaled] == [(0.98 + 0.75) / 2, (1 + 0.5) / 2, 1]
    assert getattr(best_on_validation(scaled), "name", None) == "b"
    assert getattr(best_on_validation(models), "name", None) == "a"  # the test can fail
    unscaled = scale_by_climatology(models[:2])
    assert all(np.isnan(one.validation.mean_crps) for one in unscaled)


# The candidates of a product, before anything runs.


def test_candidates_that_can_be_built_pass(fresh: Callable[..., ProductHome]) -> None:
    options = {"ridge-var": {"lags": 2, "memory": False}, "damped-anomaly": {}}
    place = fresh(training={"candidates": ["ridge-var"], "options": options})
    assert check(place.product) == {}


def test_options_of_a_member_go_below_the_blend(fresh: Callable[..., ProductHome]) -> None:
    options = {"blend": {"members": ["arima", "ridge-var"], "arima.frames": 200}}
    product = fresh(training={"candidates": ["blend"], "options": options}).product
    assert check(product) == {}
    training = product.training.model_copy(update={"options": options | {"arima": {"frames": 200}}})
    with pytest.raises(ConfigError, match=r"training\.options\.arima: the model is neither.*as arima\.option"):
        check(product.model_copy(update={"training": training}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ridge-var": {"lags": 99}}, r"tiny-wind: training.options.ridge-var: .*lags must lie within 1..5, found 99"),
        ({"ridge-var": {"lugs": 2}}, r"training.options.ridge-var: .*lugs"),
        ({"damped-anomaly": {"x": 1}}, r"training.options.damped-anomaly: .*x"),
        ({"ridge-vor": {}}, r"training.options: unknown model 'ridge-vor'; did you mean 'ridge-var'\?"),
        ({"qqq": {}}, r"training.options: unknown model 'qqq'; known: persistence, .*ridge-var"),
        ({"gru": {}}, r"training.options.gru: the model is neither .* no effect; add gru to training.candidates"),
    ],
)
def test_a_bad_option_is_one_line_before_anything_is_trained(
    fresh: Callable[..., ProductHome], options: dict[str, Any], message: str
) -> None:
    place = fresh(training={"candidates": ["ridge-var"], "options": options})
    with pytest.raises(ConfigError, match=message) as caught:
        check(place.product)
    assert "\n" not in str(caught.value)


def test_a_candidate_that_does_not_suit_the_task_is_reported_and_the_others_stay(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = fresh(training={"candidates": ["ridge-var", "damped-anomaly"], "options": {"ridge-var": {"lags": 2}}})
    _fail(monkeypatch, "ridge-var", ModelError("ridge-var: 9999 predictors"))
    assert check(place.product) == {"ridge-var": "ridge-var: 9999 predictors"}
    alone = place.product.training.model_copy(update={"candidates": ("ridge-var",)})
    with pytest.raises(ConfigError, match=r"candidates: ridge-var: 9999 predictors; name another, e.g. damped-"):
        check(place.product.model_copy(update={"training": alone}))


def test_a_product_without_candidates_is_an_error(fresh: Callable[..., ProductHome]) -> None:
    with pytest.raises(ConfigError, match=r"training\.candidates: empty; name another"):
        check(fresh(training={"candidates": []}).product)
