"""The decisions of retrains, night after night, on a record that grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from models.base import Model
from models.baselines.reference import Persistence
from models.baselines.ridge import RidgeVar
from models.errors import ModelError
from pipeline.features.snapshot import Snapshot
from pipeline.jobs.retrain import RetrainResult
from pipeline.times import as_numpy
from pipeline.training.comparison import compare_challenger, compare_refresh, pair_scores
from pipeline.training.decision import Decision, decide_all
from pipeline.training.fits import fit_all
from pipeline.training.folds import Folds, split
from pipeline.training.holdout import TrainingOutcome, evaluate_holdout
from pipeline.training.recipe import Champion, Recipe
from tests import jobs
from tests.conftest import ProductHome, Trained
from tests.world import take_snapshot

Night = tuple[Snapshot, Folds, TrainingOutcome]


@pytest.fixture
def night(fresh: Callable[..., ProductHome]) -> Night:
    return _night(fresh(), 0)


def _night(place: ProductHome, days: int, champion: Champion | None = None) -> Night:
    """What a retrain fits and scores some days before the end of the record."""
    snapshot = take_snapshot(place.workspace, known_by=place.end - timedelta(days=days))
    folds = split(snapshot)
    return snapshot, folds, evaluate_holdout(snapshot, folds, fit_all(snapshot, folds, champion))


def _champion(decision: Decision, version: int = 1) -> Champion:
    judged, serving = decision.judged, decision.refit or decision.judged
    return Champion(version, decision.fitted.recipe, serving.model, judged.model, judged.data_until)


def _same(one: Model, other: Model) -> bool:
    left, right = one.state(), other.state()
    return all(np.array_equal(left[name], right[name]) for name in left)


def test_what_is_promoted_is_fitted_on_everything_known(night: Night) -> None:
    snapshot, folds, _ = night
    (decision,) = decide_all(*night, None, {})
    assert decision.verdict.decision == "promoted"
    assert decision.judged.model is decision.fitted.model
    assert decision.judged.data_until == folds.newest.holdout[0]
    assert decision.refit is not None
    assert not _same(decision.refit.model, decision.judged.model)
    assert (decision.refit.trained_until, decision.refit.data_until) == (folds.matured[-1], snapshot.newest_known)
    assert snapshot.newest_known <= snapshot.known_by
    assert decision.refit.baselines.keys() == decision.judged.baselines.keys()
    assert decision.fitted.name not in decision.judged.baselines


def test_without_a_better_candidate_the_best_baseline_replaces_the_champion(
    fresh: Callable[..., ProductHome],
) -> None:
    place = fresh(training={"candidates": ["damped-anomaly"], "validation": 60})
    champion = Champion(1, Recipe("seasonal-naive"))
    snapshot, folds, outcome = _night(place, 0, champion)
    (decision,) = decide_all(snapshot, folds, outcome, champion, {})
    assert (decision.fitted.name, decision.verdict.decision) == ("ridge-var", "promoted")
    assert decision.verdict.reason.startswith("the best baseline, ")
    assert {one.rival for one in decision.verdict.rivals} == {"champion version 1", "climatology", "persistence"}


def test_without_a_champion_the_baseline_with_the_lowest_crps_is_the_first(
    fresh: Callable[..., ProductHome],
) -> None:
    place = fresh(training={"candidates": ["damped-anomaly"], "validation": 60})
    snapshot, folds, outcome = _night(place, 0)
    (decision,) = decide_all(snapshot, folds, outcome, None, {})
    assert decision.fitted is min(outcome.baselines, key=lambda one: outcome.holdout[one.name].mean_crps)
    assert (decision.verdict.decision, decision.verdict.untested) == ("promoted", True)
    start = (
        "first champion, the baseline with the lowest CRPS on held-out forecasts; the best candidate, damped-anomaly, "
    )
    assert decision.verdict.reason.startswith(start + "was refused: not shown to be better than ")


def test_a_record_too_short_for_a_test_gets_the_best_baseline_until_one_is_shown_to_be_better(
    fresh: Callable[..., ProductHome],
) -> None:
    gate, training = {"issues": None}, {"candidates": ["damped-anomaly"], "validation": None}
    place = fresh(days=60, gate=gate, training=training)
    snapshot, folds, outcome = _night(place, 1)
    (first,) = decide_all(snapshot, folds, outcome, None, {})
    assert first.serves
    assert first.fitted is outcome.baselines[0]
    assert first.refit is not None
    assert first.refit.trained_until == folds.matured[-1]
    verdict = first.verdict
    assert (verdict.untested, verdict.best_candidate) == (True, "damped-anomaly")
    assert {one.kind for one in verdict.refused} >= {"not_tested"}
    few = f"about {folds.cases} independent forecasts are too few for a test, which needs 16"
    assert f"; the gate would not promote it over a champion: {few}" in verdict.reason
    champion = _champion(first)
    *_, second = decide_all(*_night(place, 0, champion), champion, {})
    assert (second.verdict.decision, second.fitted.name) == ("refreshed", first.fitted.name)


def test_the_same_recipe_is_refreshed_the_night_after(fresh: Callable[..., ProductHome]) -> None:
    place = fresh()
    (first,) = decide_all(*_night(place, 1), None, {})
    champion = _champion(first)
    (second,) = decide_all(*_night(place, 0, champion), champion, {})
    assert (second.verdict.kind, second.verdict.decision) == ("refresh", "refreshed")
    assert second.verdict.reason.startswith("fitted on the newest data, skill ")
    (former,) = second.verdict.rivals
    assert (former.rival, abs(former.skill) < 0.01) == ("champion version 1", True)
    assert second.refit is not None
    assert second.refit.data_until - second.judged.data_until > timedelta(days=59)


def test_a_challenger_is_refused_and_the_champion_refreshed_in_one_night(fresh: Callable[..., ProductHome]) -> None:
    place = fresh()
    (first,) = decide_all(*_night(place, 1), None, {})
    champion = _champion(first)
    training = place.product.training.model_copy(update={"candidates": ("damped-anomaly",)})
    other = ProductHome(place.product.model_copy(update={"training": training}), place.settings, place.end)
    refused, refreshed = decide_all(*_night(other, 0, champion), champion, {})
    assert (refused.fitted.name, refused.verdict.decision, refused.refit) == ("damped-anomaly", "refused", None)
    assert "not shown to be better than champion version 1" in refused.verdict.reason
    assert (refreshed.fitted.name, refreshed.verdict.decision) == ("ridge-var", "refreshed")


@pytest.mark.parametrize("excess", [0.02, 0.0])
def test_a_fit_that_is_worse_than_the_one_before_does_not_replace_it(night: Night, excess: float) -> None:
    snapshot, folds, outcome = night
    fitted = outcome.candidates[0]
    champion = Champion(1, fitted.recipe, fitted.model, fitted.model, folds.newest.data_until)
    worse = outcome.holdout[fitted.name]
    worse.crps[:] *= 1 + excess
    decisions = decide_all(snapshot, folds, _with_champion(outcome), champion, {})
    (objection,) = decisions[-1].verdict.objections or (None,)
    if not excess:
        assert objection is None
        return
    assert objection is not None
    assert (objection.kind, objection.rival) == ("worse_than_before", "champion version 1")
    assert decisions[-1].refit is None
    assert "worse than the fit before it, champion version 1 (skill -2.0%)" in decisions[-1].verdict.reason


def test_the_fit_before_is_scored_only_where_it_has_not_learnt(night: Night) -> None:
    snapshot, folds, outcome = night
    fitted = outcome.candidates[0]
    border = folds.newest.holdout[20]
    champion = Champion(1, fitted.recipe, fitted.model, fitted.model, border)
    (former,) = compare_refresh(snapshot, folds, outcome, fitted, champion).rivals
    known = np.isfinite(former.scores.crps).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(known, np.arange(len(folds.holdout)) >= 20)


def test_where_scoring_the_fit_before_fails_it_stays(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tonight's fit is half as good; a lack of memory must not let it past."""
    snapshot, folds, outcome = night
    fitted = outcome.candidates[0]
    champion = Champion(1, fitted.recipe, fitted.model, fitted.model, folds.newest.data_until)
    outcome.holdout[fitted.name].crps[:] *= 1.5

    def fail(*arguments: object) -> None:
        raise MemoryError("full")

    monkeypatch.setattr("pipeline.training.comparison.score_recalibrated", fail)
    *_, kept = decide_all(snapshot, folds, _with_champion(outcome), champion, {})
    assert (kept.verdict.decision, kept.refit) == ("refused", None)
    words = "the fit before it, champion version 1, could not be scored: MemoryError: full"
    assert kept.verdict.reason == words


@pytest.mark.parametrize(
    ("judged", "why"),
    [
        ("unreadable", "its files cannot be read"),
        (
            "of other stations",
            "it was trained for other stations, variables, quantiles or steps than the product has now",
        ),
        ("unable", "no"),
    ],
)
def test_a_fit_before_that_can_have_no_scores_is_replaced_and_named(
    night: Night, monkeypatch: pytest.MonkeyPatch, judged: str, why: str
) -> None:
    snapshot, folds, outcome = night
    fitted = outcome.candidates[0]
    former: Model | None = None if judged == "unreadable" else fitted.recipe.build(snapshot.task)
    if former is not None and judged == "of other stations":
        former.task = replace(snapshot.task, locations=("A", "B", "C", "D"))
    if former is not None and judged == "unable":
        monkeypatch.setattr(former, "predict", _refuse)
    champion = Champion(1, fitted.recipe, fitted.model, former, folds.newest.data_until)
    *_, refreshed = decide_all(snapshot, folds, _with_champion(outcome), champion, {})
    assert refreshed.verdict.decision == "refreshed"
    words = f"fitted on the newest data; not compared with the fit before it, champion version 1: {why}"
    assert refreshed.verdict.reason == words


def _refuse(*arguments: object) -> None:
    raise ModelError("no")


def _with_champion(outcome: TrainingOutcome) -> TrainingOutcome:
    return replace(outcome, champion=outcome.candidates[0])


SPOILT: dict[str, tuple[Callable[[Model], None], str]] = {
    "an exception": (lambda model: _fail(), "the fit on all data failed: MemoryError: full"),
    "no number": (lambda model: _spoil(model, np.nan), "the fit on all data failed: wind_speed: "),
    "another forecast": (lambda model: _spoil(model, 3.0), "the fit on all data differs from the judged one by "),
}


def _fail() -> None:
    raise MemoryError("full")


def _spoil(model: Model, factor: float) -> None:
    real = model.predict
    model.predict = lambda inputs: np.minimum(real(inputs) * np.float32(factor), np.float32(100))  # type: ignore[method-assign]


@pytest.mark.parametrize("fault", SPOILT)
def test_a_refit_that_fails_its_checks_does_not_serve(
    night: Night, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    spoil, words = SPOILT[fault]
    real = RidgeVar.refit

    def refit(self: RidgeVar, *arguments: object, **options: object) -> None:
        real(self, *arguments, **options)  # type: ignore[arg-type]
        spoil(self)

    monkeypatch.setattr(RidgeVar, "refit", refit)
    (decision,) = decide_all(*night, None, {})
    assert decision.verdict.decision == "promoted"
    assert decision.refit is None
    assert f"; the judged fit serves: {words}" in decision.verdict.reason
    champion = _champion(decision)
    (kept,) = decide_all(night[0], night[1], _with_champion(night[2]), champion, {})
    assert kept.verdict.decision == "refused"
    assert kept.verdict.reason.startswith(words)


def test_a_baseline_that_cannot_be_fitted_again_keeps_its_judged_fit(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refit(self: Persistence, *arguments: object, **options: object) -> None:
        raise ModelError("no")

    monkeypatch.setattr(Persistence, "refit", refit)
    (decision,) = decide_all(*night, None, {})
    assert decision.refit is not None
    assert decision.refit.baselines["persistence"] is decision.judged.baselines["persistence"]
    assert decision.refit.baselines["climatology"] is not decision.judged.baselines["climatology"]


def test_a_champion_that_cannot_be_loaded_lets_nothing_past(
    fresh: Callable[..., ProductHome],
) -> None:
    champion = Champion(1)
    (decision,) = decide_all(*_night(fresh(), 0, champion), champion, {})
    assert decision.verdict.decision == "refused"
    assert "champion version 1, which cannot be scored" in decision.verdict.reason


def test_a_champion_whose_recipe_suits_the_product_no_more_is_no_rival(fresh: Callable[..., ProductHome]) -> None:
    champion = Champion(1, Recipe("ridge-var", {"lags": 99}))
    (decision,) = decide_all(*_night(fresh(), 0, champion), champion, {})
    assert decision.verdict.decision == "promoted"


def test_a_refresh_is_a_version_with_the_alias_and_a_row_of_the_ledger(trained: Trained) -> None:
    ws = trained.workspace
    serving = trained.retrained.champion
    later = trained.product.training.model_copy(update={"seed": 1})  # the same data would be trained once only
    again: RetrainResult = jobs.retrain(
        ProductHome(trained.product.model_copy(update={"training": later}), trained.settings, trained.end).workspace,
        at=trained.end,
    )
    assert (again.version, again.champion, again.refreshed, again.exit_code) == (2, 2, True, 0)
    assert again.verdict == again.refresh
    champion = ws.registry.by_alias("champion")
    assert champion is not None
    assert (champion.version, champion.verdict) == (2, "refreshed")
    newest = ws.ledger.read()[0]
    assert (newest.action, newest.version, newest.previous) == ("refreshed", 2, serving)
    assert newest.why == again.verdict.reason
    assert ws.ledger.before(2) == serving


def test_a_retrain_in_the_past_replaces_no_champion_with_newer_data(fresh: Callable[..., ProductHome]) -> None:
    place = fresh()
    (first,) = decide_all(*_night(place, 0), None, {})
    champion = replace(_champion(first), data_until=place.end)
    decisions = decide_all(*_night(place, 100, champion), champion, {})
    assert all("the champion was fitted on newer data" in one.verdict.reason for one in decisions)
    assert not any(one.serves for one in decisions)


def test_after_six_refreshes_a_network_starts_from_scratch(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    real = RidgeVar.refit

    def refit(self: RidgeVar, *arguments: object, start: Model | None = None, **options: object) -> None:
        started.append(start)
        real(self, *arguments, start=start, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(RidgeVar, "refit", refit)
    monkeypatch.setattr(RidgeVar, "keeps_to_budget", True)  # as a network does, whose refits continue
    (first,) = decide_all(*night, None, {})
    champion = _champion(first)
    counts = []
    for _ in range(8):
        (decision,) = decide_all(night[0], night[1], _with_champion(night[2]), champion, {})
        champion = replace(champion, warm_starts=decision.warm_starts)
        counts.append(decision.warm_starts)
    assert counts == [1, 2, 3, 4, 5, 6, 0, 1]
    assert [start is not None for start in started] == [False, *[True] * 6, False, True]


def test_without_the_time_to_start_from_scratch_a_network_goes_on_being_refreshed(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RidgeVar, "keeps_to_budget", True)
    (first,) = decide_all(*night, None, {})
    champion = replace(_champion(first), warm_starts=6)
    outcome = _with_champion(night[2])
    fitted = outcome.champion
    assert fitted is not None
    slow = replace(fitted, cost=replace(fitted.cost, fit=1e6))
    slow_outcome = replace(outcome, champion=slow, candidates=(slow, *outcome.candidates[1:]), challengers=(slow,))
    (decision,) = decide_all(night[0], night[1], slow_outcome, champion, {})
    assert (decision.verdict.decision, decision.warm_starts) == ("refreshed", 7)


def test_the_level_of_the_test_is_the_same_every_night(fresh: Callable[..., ProductHome]) -> None:
    """It is shared by all recipes that may ever challenge, whichever is best tonight."""
    place = fresh(training={"candidates": ["damped-anomaly"], "validation": 60})
    snapshot, folds, outcome = _night(place, 0)
    shares = {compare_challenger(snapshot, folds, outcome, one, None, {}).challengers for one in (*outcome.baselines,)}
    assert shares == {len({"damped-anomaly", "seasonal-naive", "ridge-var"})}


def test_an_issue_time_that_waits_for_late_observations_is_not_scored_for_good(night: Night) -> None:
    """The first score is kept, so one of a part of the stations would stay when the others have arrived."""
    snapshot, folds, outcome = night
    ours, theirs = outcome.baselines[:2]
    complete = pair_scores(snapshot, folds, outcome, ours, theirs, {})
    scores = outcome.holdout[ours.name]
    late = scores.crps.copy()
    late[-2, :, :, 0] = np.nan
    partial = replace(outcome, holdout={**outcome.holdout, ours.name: replace(scores, crps=late)})
    waiting = pair_scores(snapshot, folds, partial, ours, theirs, {})
    np.testing.assert_array_equal(waiting.issues, [as_numpy(issue) for issue in folds.holdout[:-2]])
    later = replace(snapshot, known_by=folds.holdout[-2] + 2 * folds.open_for)
    assert as_numpy(folds.holdout[-2]) in pair_scores(later, folds, partial, ours, theirs, {}).issues
    kept = pair_scores(snapshot, folds, outcome, ours, theirs, {(ours.key, theirs.key): waiting})
    np.testing.assert_array_equal(kept.scores, complete.scores)
