"""Refits, and the checks that decide whether one serves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.features.snapshot import Snapshot
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
