from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.base import Model
from models.catalogue import build
from models.errors import ModelError
from models.task import Inputs
from pipeline.errors import NoDataError
from pipeline.features.snapshot import Snapshot
from pipeline.locations import Locations
from pipeline.training.budget import Budget
from pipeline.training.cost import Cost
from pipeline.training.explanation import explain as explaining
from pipeline.training.explanation.explain import MOST_ISSUES, explain, explain_serving, most_issues, unseen_issues
from pipeline.training.explanation.facts import Explanation
from pipeline.training.folds import Folds, split
from tests.conftest import ProductHome
from tests.world import take_snapshot

Night = tuple[Snapshot, Folds, Model]


@pytest.fixture
def night(fresh: Callable[..., ProductHome]) -> Night:
    """A snapshot, its folds, and a linear model fitted on the newest of them."""
    place = fresh()
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    folds = split(snapshot)
    model = build("ridge-var", snapshot.task)
    model.fit(folds.newest.windows(snapshot, "train"), folds.newest.windows(snapshot, "validation"))
    return snapshot, folds, model


class Counting:
    """A model that counts the issue times it forecasts."""

    def __init__(self, model: Model) -> None:
        self.model, self.task, self.name, self.forecasts = model, model.task, model.name, 0

    def predict(self, inputs: Inputs) -> NDArray[np.float32]:
        self.forecasts += len(inputs)
        return self.model.predict(inputs)

    def attention(self, inputs: Inputs) -> None:
        return None


def test_the_explanation_of_a_model_on_issue_times_that_it_has_not_seen(night: Night) -> None:
    snapshot, folds, model = night
    issues = unseen_issues(folds, folds.newest.data_until)
    assert issues == folds.newest.holdout
    found = explain(model, snapshot, issues)
    assert (found.model, found.issues, found.variables) == ("ridge-var", 60, ("wind_speed",))
    assert (found.since, found.until) == (issues[0], issues[-1])
    assert [group.title for group in found.groups[:3]] == ["any input", "Station 0", "Station 1"]
    everything, newest = found.groups[0], next(group for group in found.groups if group.title == "the newest values")
    assert everything.loss is not None and newest.loss is not None
    assert everything.loss > newest.loss > 0.02
    assert everything.is_clear
    assert len(everything.loss_by_lead) == len(everything.error_by_lead) == 2
    assert everything.loss_by_variable == (everything.loss,)
    assert found.attention is None


def test_equal_data_give_equal_explanations_that_survive_json(night: Night) -> None:
    snapshot, folds, model = night
    first, second = (explain(model, snapshot, folds.newest.holdout) for _ in range(2))
    assert first == second
    assert Explanation.model_validate_json(first.model_dump_json()) == first


def test_the_number_of_forecasts_is_bounded(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, folds, model = night
    monkeypatch.setattr(explaining, "most_scored", lambda _: 150)
    counting = Counting(model)
    found = explain(counting, snapshot, folds.newest.holdout)  # type: ignore[arg-type]
    assert counting.forecasts == found.forecasts <= 2 * 150
    assert found.issues == 2 * 150 // (len(found.groups) + 1)
    assert (found.since, found.until) == (folds.newest.holdout[0], folds.newest.holdout[-1])


def test_a_large_grid_is_explained_on_fewer_issue_times(night: Night) -> None:
    snapshot, _, _ = night
    assert most_issues(snapshot, 6) == MOST_ISSUES == 400
    assert most_issues(snapshot, 19) == 2 * 1500 // 20
    cells = tuple(f"c{n}" for n in range(20_000))
    locations = Locations(cells, cells, (0.0,) * 20_000, (0.0,) * 20_000)
    large = replace(snapshot, locations=locations)
    assert most_issues(large, 11) == 2 * 250 // 12  # 10 million values are 250 forecasts of 20000 cells and 2 leads
    assert most_issues(large, 999) == 20


def test_few_issue_times_are_not_enough(night: Night) -> None:
    snapshot, folds, model = night
    with pytest.raises(NoDataError, match="19 issue times that ridge-var has not seen, needed are 20"):
        explain(model, snapshot, folds.newest.holdout[:19])


def test_a_model_of_other_stations_is_refused(night: Night) -> None:
    snapshot, folds, model = night
    other = replace(snapshot, task=replace(snapshot.task, locations=("a", "b", "c", "d")))
    with pytest.raises(ModelError, match="trained for other stations"):
        explain(model, other, folds.newest.holdout)


class TestServing:
    def _decision(self, model: Any, folds: Folds, *, serves: bool = True) -> Any:
        judged = SimpleNamespace(model=model, data_until=folds.newest.data_until)
        return SimpleNamespace(
            serves=serves, judged=judged, fitted=SimpleNamespace(name="ridge-var", cost=Cost(1.0, 0.01))
        )

    def test_the_decision_that_serves_is_explained(self, night: Night) -> None:
        snapshot, folds, model = night
        decisions = [self._decision(None, folds, serves=False), self._decision(model, folds)]
        found = explain_serving(snapshot, folds, decisions)
        assert found.explanation == explain(model, snapshot, folds.newest.holdout)
        assert found.problem == ""

    def test_nothing_is_explained_once_the_budget_is_spent(self, night: Night) -> None:
        snapshot, folds, model = night
        for seconds, explained in ((600, True), (1, False)):
            found = explain_serving(snapshot, folds, [self._decision(model, folds)], Budget(timedelta(seconds=seconds)))
            assert (found.explanation is not None) == explained
        assert found.problem.startswith("ridge-var is not explained: training.budget is spent")

    def test_without_one_there_is_nothing_to_explain(self, night: Night) -> None:
        snapshot, folds, _ = night
        found = explain_serving(snapshot, folds, [self._decision(None, folds, serves=False)])
        assert (found.explanation, found.problem) == (None, "")

    @pytest.mark.parametrize("error", [ModelError("no"), MemoryError(), RuntimeError("CUDA error"), ValueError("odd")])
    def test_a_model_that_raises_is_reported_and_stops_nothing(
        self, night: Night, error: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        snapshot, folds, model = night
        broken = Counting(model)

        def fail(inputs: Inputs) -> NDArray[np.float32]:
            raise error

        broken.predict = fail  # type: ignore[method-assign]
        found = explain_serving(snapshot, folds, [self._decision(broken, folds)])
        words = str(error) or "MemoryError"
        assert found.explanation is None
        assert found.problem == f"ridge-var cannot be explained: {words}"
        assert found.problem in caplog.text
