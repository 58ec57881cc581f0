from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.base import Model
from models.catalogue import build
from models.task import Inputs, Task
from pipeline.locations import Locations, cell_ids
from pipeline.training.explanation.groups import input_groups
from pipeline.training.explanation.losses import Losses, measure_losses
from tests.conftest import ProductHome
from tests.unit.training.explanation.signals import Signals, groups_of, make_signals, make_task

NETWORK = {"hidden": 8, "epochs": 8, "learning_rate": 0.02, "base": "damped-anomaly", "input_dropout": 0.1}
Result = dict[tuple[str, str], tuple[float, float]]


def measure(model: Model, held_out: Signals, *, lead: int | None = 0) -> Result:
    """Loss and standard error of each group, by kind and name; at one lead, or over all."""
    groups = groups_of(held_out.task)
    losses = measure_losses(model, held_out, groups, block=6)  # type: ignore[arg-type]
    leads = slice(None) if lead is None else slice(lead, lead + 1)
    return {(group.kind, group.name): losses.relative(index, leads=leads) for index, group in enumerate(groups)}


def fitted(name: str, parts: tuple[Signals, Signals, Signals], **options: Any) -> Model:
    model = build(name, parts[0].task, **options)
    model.fit(parts[0], parts[1], seed=1)
    return model


def strongest(result: Result, kind: str) -> str:
    return max((name for found, name in result if found == kind), key=lambda name: result[kind, name][0])


def is_clear(result: Result, kind: str, name: str) -> bool:
    loss, error = result[kind, name]
    return loss > 5 * error


class TestLinearModel:
    @pytest.mark.parametrize("gaps", [0.0, 0.2])
    def test_the_only_station_that_others_follow_is_found(self, gaps: float) -> None:
        parts = make_signals(make_task(channels=1), station=3, gaps=gaps)
        result = measure(fitted("ridge-var", parts), parts[2])
        assert strongest(result, "location") == "s3"
        assert is_clear(result, "location", "s3")
        assert result["location", "s3"][0] == pytest.approx(result["all", "input"][0], rel=0.2)

    def test_the_only_variable_that_predicts_is_found(self) -> None:
        parts = make_signals(make_task(channels=3), channel=2)
        result = measure(fitted("ridge-var", parts), parts[2])
        assert strongest(result, "variable") == "rain"
        assert is_clear(result, "variable", "rain")

    @pytest.mark.parametrize("lag", [0, 2])
    def test_the_only_lag_that_predicts_is_found(self, lag: int) -> None:
        parts = make_signals(make_task(), channel=1, lag=lag)
        result = measure(fitted("ridge-var", parts), parts[2])
        assert strongest(result, "lag") == str(lag)
        assert is_clear(result, "lag", str(lag))

    def test_the_loss_is_at_the_lead_that_the_input_predicts(self) -> None:
        parts = make_signals(make_task(), channel=1)
        model = fitted("ridge-var", parts)
        first, second = (measure(model, parts[2], lead=lead)["variable", "heat"][0] for lead in (0, 1))
        assert first > 0.5
        assert second < 0.05

    def test_noise_that_a_long_record_left_without_weight_stays_within_two_standard_errors(self) -> None:
        noise = _noise(frames=8000, stations=3, channels=2)
        inside = [abs(loss) <= 2 * error + 1e-12 for loss, error in noise]
        assert len(inside) == 4 * 5
        assert np.mean(inside) >= 0.9
        assert max(abs(loss) for loss, _ in noise) < 0.005

    def test_noise_that_a_short_record_was_overfitted_to_is_never_shown_as_important(self) -> None:
        noise = _noise(frames=900, stations=5, channels=3)  # forecasts are better without it
        assert all(loss <= 2 * error for loss, error in noise)

    def test_a_station_that_does_not_report_has_no_loss(self) -> None:
        parts = make_signals(make_task(channels=1), station=3)
        mask = parts[2].mask.copy()
        mask[..., 0] = False
        result = measure(fitted("ridge-var", parts), replace(parts[2], mask=mask))
        assert result["location", "s0"] == (0.0, 0.0)
        assert strongest(result, "location") == "s3"


def _noise(*, frames: int, stations: int, channels: int) -> list[tuple[float, float]]:
    """Loss and standard error of every input that carries no signal, over four records."""
    noise = []
    for seed in range(4):
        task = make_task(channels=channels, context=3, stations=stations)
        parts = make_signals(task, station=1, seed=seed, frames=frames)
        result = measure(fitted("ridge-var", parts), parts[2])
        carriers = {("location", "s1"), ("variable", "wind"), ("lag", "0"), ("all", "input")}
        noise += [one for group, one in result.items() if group not in carriers]
    return noise


class TestNetwork:
    def test_the_only_variable_and_lag_that_predict_are_found(self) -> None:
        parts = make_signals(make_task(), channel=1, lag=1)
        result = measure(fitted("lstm", parts, **NETWORK), parts[2])
        assert (strongest(result, "variable"), strongest(result, "lag")) == ("heat", "1")
        assert is_clear(result, "variable", "heat")
        assert is_clear(result, "lag", "1")
        others = [loss for (kind, name), (loss, _) in result.items() if kind == "lag" and name != "1"]
        assert max(map(abs, others)) < 0.1 * result["lag", "1"][0]

    def test_the_only_covariate_that_predicts_is_found(self) -> None:
        parts = make_signals(make_task(channels=1, covariates=2), covariate=1)
        result = measure(fitted("lstm", parts, **NETWORK), parts[2], lead=None)
        assert strongest(result, "covariate") == "nwp.c1"
        assert is_clear(result, "covariate", "nwp.c1")
        assert abs(result["covariate", "nwp.c0"][0]) < 0.1 * result["covariate", "nwp.c1"][0]


def test_the_block_of_a_grid_that_the_others_follow_is_found(fresh: Callable[..., ProductHome]) -> None:
    ids = cell_ids(6, 6)
    east, north = np.tile(np.arange(6.0), 6), np.repeat(np.arange(6.0), 6)
    locations = Locations(ids, ids, tuple(east), tuple(north), (6, 6))
    task = make_task(
        channels=1,
        context=2,
        stations=36,
        locations=ids,
        longitude=locations.longitude,
        latitude=locations.latitude,
        grid=(6, 6),
    )
    parts = make_signals(task, station=8)  # row 1, column 2
    groups = input_groups(task, fresh(days=30).product, locations)
    losses = measure_losses(fitted("ridge-var", parts, lags=1), parts[2], groups, block=6)  # type: ignore[arg-type]
    result = {group.title: losses.relative(index)[0] for index, group in enumerate(groups) if group.kind != "all"}
    regions = [group.title for group in groups if group.kind in ("region", "location")]
    assert len(regions) == 16
    assert max(regions, key=lambda title: result[title]) == "cells 0 to 1° N, 2 to 3° E"
    assert sorted(result.values())[-2:] == [result["cells 0 to 1° N, 2 to 3° E"], result["the newest values"]]


class LastValue:
    """Forecasts the newest value of the first channel as every quantile, 0 where it is missing."""

    def __init__(self, task: Task) -> None:
        self.task, self.sizes = task, list[int]()

    def predict(self, inputs: Inputs) -> NDArray[np.float32]:
        self.sizes.append(len(inputs))
        task = self.task
        shape = (len(inputs), task.leads, 1, len(task.locations), len(task.quantile_levels))
        return np.broadcast_to(inputs.values[:, -1, 0][:, None, None, :, None], shape).astype(np.float32)


def test_sums_match_values_worked_by_hand() -> None:
    task = make_task(channels=1, context=2, stations=2, leads=1)
    values = np.array([[[0, 0]], [[1, 2]], [[3, 2]]], np.float32)  # forecast 1 and 2, observed 3 and 2
    mask = np.ones(values.shape, bool)
    one = Signals(task, values, mask, np.empty((3, 0, 2), np.float32), np.array([1]), horizon=1)
    losses = measure_losses(LastValue(task), one, groups_of(task), block=1)  # type: ignore[arg-type]
    # Of equal quantiles, the CRPS is the absolute error times the weight that these levels have together.
    scale = losses.complete.item() / 2
    without = {group.name: total / scale for group, total in zip(groups_of(task), losses.withheld.ravel(), strict=True)}
    assert without["input"] == pytest.approx(3 + 2)
    assert without["s0"] == pytest.approx(3)
    assert without["s1"] == pytest.approx(2 + 2)
    assert without["0"] == pytest.approx(5)
    assert without["1"] == pytest.approx(2)
    assert losses.count.tolist() == [[[2]]]
    assert losses.mean_crps().item() == pytest.approx(scale)
    assert losses.relative(1)[0] == pytest.approx(0.5)


def test_each_window_is_forecast_once_with_and_once_without_each_group() -> None:
    held_out = make_signals(make_task())[2]
    model, groups = LastValue(held_out.task), groups_of(held_out.task)
    measure_losses(model, held_out, groups, block=6)  # type: ignore[arg-type]
    assert sum(model.sizes) == len(held_out) * (len(groups) + 1)


def test_unknown_truth_is_not_scored() -> None:
    held_out = make_signals(make_task(channels=1), gaps=0.5)[2]
    losses = measure_losses(LastValue(held_out.task), held_out, [], block=1)  # type: ignore[arg-type]
    known = np.isfinite(held_out.truth(np.arange(len(held_out))))
    np.testing.assert_array_equal(losses.count, known.sum(axis=-1))


def _losses(complete: list[float], without: list[float], block: int = 1) -> Losses:
    first, second = (np.array(column)[:, None, None] for column in (complete, without))
    return Losses(first, second[None], np.ones(first.shape, np.intp), block)


def test_the_standard_error_is_that_of_a_ratio_of_sums_over_blocks() -> None:
    complete, without = [1.0, 3.0, 2.0, 2.0, 1.0, 1.0], [1.2, 3.0, 2.5, 2.3, 1.0, 1.1]
    loss, error = _losses(complete, without).relative(0)
    assert loss == pytest.approx(11.1 / 10 - 1)
    residual = (np.array(without) - complete - loss * np.array(complete)) / 10
    assert error == pytest.approx(np.sqrt(6 / 5 * (residual**2).sum()))


def test_blocks_of_equal_errors_have_the_error_of_their_number() -> None:
    # Ten pairs of equal cases are ten cases.
    single = _losses([1.0] * 10, [1.0, 1.4] * 5).relative(0)
    pairs = _losses([1.0] * 20, [1.0, 1.0, 1.4, 1.4] * 5, block=2).relative(0)
    assert pairs == pytest.approx(single)


def test_with_too_few_blocks_the_error_is_unknown() -> None:
    loss, error = _losses([1.0] * 8, [1.1] * 8, block=2).relative(0)
    assert loss == pytest.approx(0.1)
    assert np.isnan(error)


def test_a_perfect_forecast_has_no_relative_loss() -> None:
    assert np.isnan(_losses([0.0] * 9, [1.0] * 9).relative(0)).all()


def test_variables_count_the_same_whatever_their_units() -> None:
    complete = np.array([[[1.0, 1000.0]]]).repeat(6, axis=0)
    withheld = np.array([[[1.2, 1100.0]]]).repeat(6, axis=0)
    losses = Losses(complete, withheld[None], np.ones(complete.shape, np.intp), 1)
    assert losses.relative(0)[0] == pytest.approx((0.2 + 0.1) / 2)
    assert losses.relative(0, targets=slice(1, 2))[0] == pytest.approx(0.1)
