"""Refits, and the checks that decide whether one serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.base import Model
from models.baselines.ridge import RidgeVar
from models.networks.neural import NeuralModel
from models.task import Inputs
from pipeline.features.snapshot import Snapshot
from pipeline.training.cost import Cost
from pipeline.training.fit import FittedModel, fit_model
from pipeline.training.folds import Folds, split
from pipeline.training.recipe import Recipe
from pipeline.training.refit import Refitter
from tests.conftest import ProductHome
from tests.world import take_snapshot

NETWORK = Recipe(
    "dlinear",
    {"base": "damped-anomaly", "correction": "all", "epochs": 4, "patience": 4, "batch": 8, "learning_rate": 0.01},
)


@pytest.fixture
def record(fresh: Callable[..., ProductHome]) -> tuple[Snapshot, Folds]:
    home = fresh()
    snapshot = take_snapshot(home.workspace, known_by=home.end)
    return snapshot, split(snapshot)


def _network(record: tuple[Snapshot, Folds]) -> FittedModel:
    return fit_model("dlinear", NETWORK, *record)


def test_a_network_trained_for_less_than_its_judged_fit_does_not_serve(record: tuple[Snapshot, Folds]) -> None:
    """Without time it would be nearly untrained, but in-sample its base looks better than the judged fit."""
    judged = _network(record)
    whole = Refitter(*record, {}).refit_checked(judged)
    assert whole.model is not None
    assert whole.objections == ()
    short = Refitter(*record, {}).refit_checked(judged, seconds=0.0)
    (objection,) = short.objections
    assert (short.model, objection.kind) == (None, "refit_unfinished")
    assert objection.completed is not None
    assert 0 < objection.completed < 0.1


FAULTS: dict[str, tuple[Callable[[NDArray[np.float32]], NDArray[np.float32]], str]] = {
    "no numbers": (lambda quantiles: np.full_like(quantiles, np.nan), "not finite"),
    "quantiles in reverse order": (lambda quantiles: quantiles[..., ::-1], "below the quantile before"),
    "beyond the limits": (lambda quantiles: quantiles + 100, "above 100"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_refit_with_a_single_broken_forecast_does_not_serve(
    record: tuple[Snapshot, Folds], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The tenth of 60 forecasts is broken, which a mean over the others would hide."""
    spoil, words = FAULTS[fault]
    judged = fit_model("ridge-var", Recipe("ridge-var"), *record)
    real = RidgeVar.refit

    def refit(self: RidgeVar, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        good = self.predict

        def predict(inputs: Inputs) -> NDArray[np.float32]:
            quantiles = good(inputs)
            if len(quantiles) > 9:
                quantiles[9] = spoil(quantiles[9])
            return quantiles

        monkeypatch.setattr(self, "predict", predict)

    monkeypatch.setattr(RidgeVar, "refit", refit)
    found = Refitter(*record, {}).refit_checked(judged)
    (objection,) = found.objections
    assert (found.model, objection.kind) == (None, "refit_failed")
    assert objection.text.startswith("wind_speed: ")
    assert words in objection.text


def _fail_to_continue(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let refits of networks that continue fail, and return which were asked to."""
    real, warm = NeuralModel.refit, list[bool]()

    def refit(self: NeuralModel, *arguments: Any, start: Model | None = None, **options: Any) -> None:
        warm.append(start is not None)
        real(self, *arguments, start=start, **options)
        if start is not None:
            monkeypatch.setattr(self, "predict", lambda inputs: np.full((len(inputs), 3, 1, 4, 7), np.nan, np.float32))

    monkeypatch.setattr(NeuralModel, "refit", refit)
    return warm


def test_a_refit_that_fails_after_continuing_starts_from_scratch(
    record: tuple[Snapshot, Folds], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = _network(record)
    base = fit_model("damped-anomaly", Recipe("damped-anomaly"), *record)
    plain = Refitter(*record, {base.key: base}).refit_checked(judged)
    warm = _fail_to_continue(monkeypatch)
    refitter = Refitter(*record, {base.key: base})
    found = refitter.refit_checked(judged, start=judged.model)
    assert warm == [True, False]
    assert (found.objections, found.continued) == ((), False)
    assert found.model is not None
    assert plain.model is not None
    expected = plain.model.state()
    assert all(np.array_equal(array, expected[name]) for name, array in found.model.state().items())


def test_without_time_to_start_from_scratch_the_objections_stand(
    record: tuple[Snapshot, Folds], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = _network(record)
    slow = replace(judged, cost=Cost(fit=1e6, issue=0.0))
    warm = _fail_to_continue(monkeypatch)
    found = Refitter(*record, {}).refit_checked(slow, start=judged.model, seconds=1000.0)
    assert warm == [True]
    assert [one.kind for one in found.objections] == ["refit_failed"]


def test_a_baseline_has_nothing_to_continue(record: tuple[Snapshot, Folds]) -> None:
    judged = fit_model("ridge-var", Recipe("ridge-var"), *record)
    refitter = Refitter(*record, {})
    found = refitter.refit_checked(judged, start=judged.model)
    assert (found.objections, found.continued) == ((), False)
    assert refitter.refit(judged) is found.model
