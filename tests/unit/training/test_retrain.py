from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.build import MODELS
from models.errors import DivergedError, ModelError
from pipeline.errors import ConfigError
from pipeline.features.snapshot import take_snapshot
from pipeline.training import fit, retrain
from pipeline.training.fit import TrainingError, baselines, check_candidates, choose
from pipeline.training.folds import split
from pipeline.training.retrain import fit_all, hold_trial, training_key
from tests.conftest import Place

DIVERGED = DivergedError("attention-convlstm", epoch=1, step=2)
FAULTS = [
    DIVERGED,
    ModelError("bad options"),
    RuntimeError("CUDA out of memory"),
    MemoryError("no room"),
    np.linalg.LinAlgError("singular"),
]


def _fail(monkeypatch: pytest.MonkeyPatch, which: str, error: Exception) -> None:
    real = fit.build

    def build(name: str, *arguments: Any, **options: Any) -> Any:
        if name == which:
            raise error
        return real(name, *arguments, **options)

    monkeypatch.setattr(fit, "build", build)


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_a_candidate_that_fails_is_recorded_and_the_others_go_on_f29(
    fresh: Callable[..., Place], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    place = fresh(training={"candidates": ["attention-convlstm", "ridge-var"], "validation": 60})
    snapshot = take_snapshot(place.product, place.settings, known_by=place.end)
    folds = split(snapshot)
    _fail(monkeypatch, "attention-convlstm", error)
    fitted, failed = fit_all(snapshot, folds)
    assert [one.name for one in fitted] == ["ridge-var", "persistence", "climatology", "damped-anomaly"]
    assert str(error) in failed["attention-convlstm"]
    trained = hold_trial(snapshot, folds, fitted, failed)
    assert trained.challenger.name == "ridge-var"
    assert set(trained.holdout) == {one.name for one in fitted}
    assert trained.failed == failed


def test_no_candidate_left_is_an_error_and_no_challenger(
    fresh: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = fresh()
    snapshot = take_snapshot(place.product, place.settings, known_by=place.end)
    folds = split(snapshot)
    _fail(monkeypatch, "ridge-var", DIVERGED)
    fitted, failed = fit_all(snapshot, folds)
    with pytest.raises(TrainingError, match="no candidate"):
        hold_trial(snapshot, folds, fitted, failed)


def test_a_baseline_that_fails_stops_the_retrain_since_nothing_could_be_compared(
    fresh: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = fresh()
    snapshot = take_snapshot(place.product, place.settings, known_by=place.end)
    _fail(monkeypatch, "persistence", ModelError("broken"))
    with pytest.raises(ModelError, match="broken"):
        fit_all(snapshot, split(snapshot))


def test_a_score_that_is_no_number_is_a_failure(fresh: Callable[..., Place], monkeypatch: pytest.MonkeyPatch) -> None:
    place = fresh()
    snapshot = take_snapshot(place.product, place.settings, known_by=place.end)
    nothing = np.full((2, 2, 1, 4), np.nan)
    monkeypatch.setattr(fit, "evaluate", lambda *_: fit.Evaluation(nothing, nothing, nothing))
    with pytest.raises(ModelError, match="not a finite number"):
        fit_all(snapshot, split(snapshot))


def test_the_best_on_validation_is_the_challenger() -> None:
    def fitted(name: str, crps: float) -> Any:
        return fit.Fitted(name, None, fit.Evaluation(*[np.full((1, 1, 1, 1), crps)] * 3), (), 0.0)  # type: ignore[arg-type]

    assert choose([fitted("a", 2.0), fitted("b", 1.0), fitted("c", 3.0)]).name == "b"


@pytest.mark.parametrize(("stations", "silent"), [(1, 0), (2, 1), (3, 1), (4, 1), (8, 2), (12, 3)])
def test_a_quarter_of_the_stations_falls_silent_and_never_all(
    fresh: Callable[..., Place], stations: int, silent: int
) -> None:
    product = fresh().product
    mask = retrain._silent(stations, product)
    assert (len(mask), mask.sum()) == (stations, silent)
    np.testing.assert_array_equal(mask, retrain._silent(stations, product))


def test_equal_data_make_an_equal_key_and_any_difference_another(fresh: Callable[..., Place]) -> None:
    place = fresh()
    product = place.product

    def key(**changed: Any) -> str:
        other = product.model_copy(update=changed).within(product.folder)
        snapshot = take_snapshot(other, place.settings, known_by=changed.pop("at", place.end))
        return training_key(snapshot, split(snapshot))

    assert key() == key()
    changed = [
        {"gate": product.gate.model_copy(update={"issues": 50})},
        {"training": product.training.model_copy(update={"seed": 1})},
        {"forecast": product.forecast.model_copy(update={"context": 6})},
    ]
    assert len({key(), *(key(**one) for one in changed)}) == 4


def test_unknown_candidates_are_told_with_the_known_ones(fresh: Callable[..., Place]) -> None:
    place = fresh(training={"candidates": ["ridge-vor"], "validation": 60})
    with pytest.raises(ConfigError, match=r"unknown model 'ridge-vor'.*ridge-var"):
        check_candidates(place.product)


def test_a_baseline_that_is_a_candidate_is_not_its_own_rival(fresh: Callable[..., Place]) -> None:
    found = baselines(fresh().product)
    assert "ridge-var" not in found
    assert set(found) < set(MODELS)
