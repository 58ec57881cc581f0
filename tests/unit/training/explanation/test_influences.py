from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.task import Inputs, Task
from pipeline.locations import Locations
from pipeline.training.explanation import influences
from pipeline.training.explanation.influences import measure_influences
from tests.unit.training.explanation.signals import Signals, groups_of, make_task


class Sum:
    """Forecasts, at each location, twice its newest value plus its covariate, at the first lead, and 0 later."""

    def __init__(self, task: Task) -> None:
        self.task, self.sizes = task, list[int]()

    def predict(self, inputs: Inputs) -> NDArray[np.float32]:
        self.sizes.append(len(inputs))
        task = self.task
        out = np.zeros((len(inputs), task.leads, 1, len(task.locations), len(task.quantile_levels)), np.float32)
        values = 2 * inputs.values[:, -1, 0]
        if inputs.covariates is not None:
            values = values + inputs.covariates[:, 0, 0]
        out[:, 0, 0] = values[..., None]
        return out


def _case(covariates: int = 0) -> tuple[Sum, Signals, Locations]:
    task = make_task(channels=1, context=2, stations=2, leads=2, covariates=covariates)
    values = np.array([[[1, 1]], [[1, -3]], [[0, 0]], [[0, 0]]], np.float32)
    future = np.full((4, covariates, 2), 0.5, np.float32)
    windows = Signals(task, values, np.ones(values.shape, bool), future, np.array([1]))
    return Sum(task), windows, Locations(task.locations, ("Birr", "Clones"), task.longitude, task.latitude)


def test_changes_match_values_worked_by_hand() -> None:
    model, windows, locations = _case()
    found = {one.name: one for one in measure_influences(model, windows, groups_of(windows.task), locations)}  # type: ignore[arg-type]
    assert "input" not in found  # everything at once tells nothing about this forecast
    assert found["s1"].largest_change == 6  # from -6 to 0
    assert found["s1"].mean_change == 6 / 4  # two leads, two locations
    assert (found["s1"].location, found["s1"].place, found["s1"].lead) == ("s1", "Clones", 1)
    assert (found["s0"].largest_change, found["s0"].mean_change) == (-2, 2 / 4)
    assert found["0"].mean_change == (2 + 6) / 4
    assert found["1"].mean_change == 0


def test_the_greatest_change_comes_first_and_one_call_makes_all_forecasts() -> None:
    model, windows, locations = _case(covariates=1)
    groups = groups_of(windows.task)
    found = measure_influences(model, windows, groups, locations)  # type: ignore[arg-type]
    assert model.sizes == [len(groups)]  # the complete forecast, and one for each group but all input
    changes = [one.mean_change for one in found]
    assert changes == sorted(changes, reverse=True)
    assert next(one for one in found if one.kind == "covariate").mean_change == 0.25


def test_a_forecast_with_too_many_values_is_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    model, windows, locations = _case()
    monkeypatch.setattr(influences, "MOST_VALUES", 10)
    arguments: Any = model, windows, groups_of(windows.task), locations
    assert measure_influences(*arguments) == ()
    assert model.sizes == []
