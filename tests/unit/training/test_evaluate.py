from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.task import Inputs, Task
from pipeline.features.windows import IssueWindows
from pipeline.steps import mean_length
from pipeline.training.evaluate import Evaluation, evaluate, forecast_windows, predict_published
from tests.conftest import ProductHome
from tests.world import take_snapshot

NAN = float("nan")


class Constant:
    """Forecasts the lead, from 1, as every quantile, and records its inputs."""

    def __init__(self, task: Task) -> None:
        self.task, self.inputs = task, list[Inputs]()

    def predict(self, inputs: Inputs) -> NDArray[np.float32]:
        self.inputs.append(inputs)
        shape = (len(inputs), self.task.leads, len(self.task.targets), len(self.task.locations))
        lead = np.arange(1, self.task.leads + 1, dtype=np.float32)[None, :, None, None]
        return np.repeat(np.broadcast_to(lead, shape)[..., None], len(self.task.quantile_levels), axis=-1)


def _windows(place: ProductHome) -> IssueWindows:
    snapshot = take_snapshot(place.workspace, known_by=place.end)
    issues = list(snapshot.cadence.issues(place.end - 10 * mean_length(snapshot.cadence.step), place.end))
    return IssueWindows(snapshot.task, snapshot.cadence, snapshot.frames, issues, truth_at=place.end)


def _evaluation(crps: list[Any]) -> Evaluation:
    values = np.array(crps, np.float64)
    return Evaluation(values, values, np.where(np.isnan(values), np.nan, 1.0))


def test_means_leave_out_what_is_unknown() -> None:
    # issue 0: leads 1, 3 and 5, unknown; issue 1: 7 and unknown, unknown and unknown; (issue, lead, target, location)
    scores = _evaluation([[[[1, 3]], [[5, NAN]]], [[[7, NAN]], [[NAN, NAN]]]])
    assert scores.mean_crps == (1 + 3 + 5 + 7) / 4
    assert scores.crps_by_lead == ((1 + 3 + 7) / 3, 5.0)
    assert scores.crps_by_issue.tolist() == [3, 7]
    assert scores.coverage == 1
    assert np.isnan(scores.at_lead(1).crps_by_issue).tolist() == [False, True]


def test_errors_by_lead_match_values_worked_by_hand() -> None:
    error = np.array([[[[3.0, -1.0]]], [[[-2.0, NAN]]]])
    covered = np.array([[[[1.0, 0.0]]], [[[1.0, NAN]]]])
    by_lead = Evaluation(np.abs(error), error, covered).by_lead()
    assert by_lead == {"mae": (2,), "rmse": (pytest.approx(np.sqrt(14 / 3)),), "bias": (0,), "coverage": (2 / 3,)}


def test_without_any_truth_every_mean_is_nan() -> None:
    scores = _evaluation([[[[NAN]]]])
    assert np.isnan(scores.mean_crps)
    assert np.isnan(scores.crps_by_lead[0])
    assert np.isnan(scores.crps_by_issue).all()


def test_a_perfect_median_scores_zero_and_unknown_truth_stays_unknown(
    fresh: Callable[..., ProductHome],
) -> None:
    windows = _windows(fresh(days=30, horizon=2))
    scores = evaluate(Constant(windows.task), windows)  # type: ignore[arg-type]
    assert scores.crps.shape == (10, 2, 1, 4)
    truth = windows.truth(np.arange(10))
    leads = np.array([1, 2], np.float32)[None, :, None, None]
    np.testing.assert_allclose(scores.error, leads - truth[:, :2], rtol=1e-6)
    assert np.isnan(scores.crps[-1, 1]).all()  # the record ends before
    assert np.isfinite(scores.crps[0]).all()


def test_leads_of_the_gap_are_forecast_and_left_out(fresh: Callable[..., ProductHome]) -> None:
    # Values come 30 h late: at an issue the newest frame is the one of the day before, lead 1 lies in the gap.
    windows = _windows(fresh(days=30, horizon=2, delay="30h"))
    assert set(windows.gaps) == {1}
    model = Constant(windows.task)
    quantiles = predict_published(model, windows.inputs(np.array([0])), windows.gaps[:1], 2)  # type: ignore[arg-type]
    assert quantiles[0, :, 0, 0, 0].tolist() == [2, 3]
    error = evaluate(model, windows).error  # type: ignore[arg-type]
    np.testing.assert_allclose(error[0, :, 0, 0], [2, 3] - windows.truth(np.array([0]))[0, 1:3, 0, 0], rtol=1e-6)


def test_withheld_stations_are_missing_in_the_input_and_still_scored(fresh: Callable[..., ProductHome]) -> None:
    windows = _windows(fresh(days=30))
    model = Constant(windows.task)
    withheld = np.array([True, False, False, True])
    (forecasts,) = forecast_windows(model, windows, withheld=withheld)  # type: ignore[arg-type]
    (inputs,) = model.inputs
    assert not inputs.mask[..., withheld].any()
    assert not inputs.values[..., withheld].any()
    assert inputs.mask[..., ~withheld].all()
    assert np.isfinite(forecasts.truth[0]).all()


def test_the_chunk_size_changes_nothing(fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch) -> None:
    windows = _windows(fresh(days=30))
    whole = evaluate(Constant(windows.task), windows)  # type: ignore[arg-type]
    monkeypatch.setattr("pipeline.training.evaluate.CHUNK", 3)
    parts = evaluate(Constant(windows.task), windows)  # type: ignore[arg-type]
    np.testing.assert_array_equal(whole.crps, parts.crps)


# Several variables: (issue, lead, target, location), here two issues, one lead, hPa and m/s, two locations.

PRESSURE_AND_WIND = _evaluation([[[[10, 30], [1, 3]]], [[[20, NAN], [2, NAN]]]])
CLIMATE = _evaluation([[[[40, 40], [4, 8]]], [[[40, NAN], [6, NAN]]]])  # 40 hPa and 6 m/s


def test_each_variable_counts_the_same_in_units_of_a_reference() -> None:
    scores = PRESSURE_AND_WIND.relative_to(CLIMATE)
    assert scores.scale == (40.0, 6.0)
    assert scores.mean_crps == pytest.approx((20 / 40 + 2 / 6) / 2)
    assert scores.crps_by_lead == (scores.mean_crps,)
    assert scores.crps_by_issue == pytest.approx([(20 / 40 + 2 / 6) / 2, (20 / 40 + 2 / 6) / 2])
    assert scores.at_lead(0).mean_crps == scores.mean_crps
    assert CLIMATE.relative_to(CLIMATE).mean_crps == 1
    np.testing.assert_array_equal(scores.crps, PRESSURE_AND_WIND.crps)


def test_another_unit_changes_no_mean_of_several_variables() -> None:
    factor = np.array([100.0, 3.6])[:, None]
    pascal = _evaluation((PRESSURE_AND_WIND.crps * factor).tolist()).relative_to(
        _evaluation((CLIMATE.crps * factor).tolist())
    )
    scores = PRESSURE_AND_WIND.relative_to(CLIMATE)
    assert pascal.mean_crps == pytest.approx(scores.mean_crps)
    assert pascal.crps_by_issue == pytest.approx(scores.crps_by_issue)


def test_a_single_variable_keeps_its_unit() -> None:
    wind = PRESSURE_AND_WIND.of_target(1)
    assert wind.relative_to(CLIMATE.of_target(1)) is wind
    assert wind.relative_to(None) is wind
    assert wind.mean_crps == np.mean([1, 3, 2])
    assert wind.crps_by_issue.tolist() == [2, 2]


def test_several_variables_without_a_reference_have_no_mean() -> None:
    scores = PRESSURE_AND_WIND.relative_to(None)
    assert np.isnan([scores.mean_crps, *scores.crps_by_lead, *scores.crps_by_issue]).all()


def test_a_variable_without_any_truth_leaves_no_mean_and_an_issue_its_other_variables() -> None:
    holed = PRESSURE_AND_WIND.crps.copy()
    holed[1, :, 1] = NAN
    scores = _evaluation(holed.tolist()).relative_to(CLIMATE)
    assert scores.crps_by_issue == pytest.approx([(20 / 40 + 2 / 6) / 2, 20 / 40])
    holed[:, :, 1] = NAN
    assert np.isnan(_evaluation(holed.tolist()).relative_to(CLIMATE).mean_crps)


def test_a_variable_that_climatology_forecasts_without_an_error_is_left_out() -> None:
    # Snow in summer: always 0, also in the climatology, by whose CRPS it cannot be divided.
    no_snow = CLIMATE.crps.copy()
    no_snow[:, :, 0] = 0
    reference = _evaluation(no_snow.tolist())
    scores = PRESSURE_AND_WIND.relative_to(reference)
    assert scores.mean_crps == pytest.approx(2 / 6)
    assert scores.crps_by_lead == (scores.mean_crps,)
    assert scores.crps_by_issue == pytest.approx([2 / 6, 2 / 6])
    assert scores.summary().mean_crps == scores.mean_crps
    assert reference.relative_to(reference).mean_crps == 1


def test_without_a_variable_to_compare_there_is_no_mean() -> None:
    scores = PRESSURE_AND_WIND.relative_to(_evaluation(np.zeros_like(CLIMATE.crps).tolist()))
    assert np.isnan([scores.mean_crps, *scores.crps_by_lead, *scores.crps_by_issue]).all()


def test_a_summary_has_the_means_of_the_whole() -> None:
    scores = PRESSURE_AND_WIND.relative_to(CLIMATE)
    summary = scores.summary()
    assert summary.crps.shape == (1, 1, 2, 1)
    assert summary.crps.ravel().tolist() == [20, 2]
    assert (summary.mean_crps, summary.coverage) == (scores.mean_crps, scores.coverage)
    # Scaled before or after: a fit keeps summaries and compares them later.
    assert PRESSURE_AND_WIND.summary().relative_to(CLIMATE.summary()).mean_crps == scores.mean_crps
    wind = PRESSURE_AND_WIND.of_target(1)
    assert wind.summary().mean_crps == wind.mean_crps


def test_a_large_task_is_forecast_a_few_issue_times_at_once(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = _windows(fresh(days=30))
    values = windows.task.leads * 4 * 7
    monkeypatch.setattr("pipeline.training.evaluate._VALUES", 3 * values)
    model = Constant(windows.task)
    evaluate(model, windows)  # type: ignore[arg-type]
    assert [len(inputs) for inputs in model.inputs] == [3, 3, 3, 1]
