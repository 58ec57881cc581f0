from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.statistics.dressing import Dressing, fit_dressing
from models.statistics.forecast_size import CLASSES, PastForecasts, fit_dressing_by_size
from tests.unit.models.conftest import World

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def _forecasts(spread: Callable[[Any], Any], count: int, *, seed: int) -> PastForecasts:
    """Return forecasts whose errors spread as a function of the mean says: 2 leads, 1 target, 3 locations."""
    random = np.random.default_rng(seed)
    means = random.normal(size=(count, 2, 1, 3)).astype(np.float32)
    errors = (spread(means) * random.normal(size=means.shape)).astype(np.float32)
    return PastForecasts(means, errors, np.arange(count))


def _covered(dressing: Dressing, forecasts: PastForecasts, chosen: Any) -> float:
    offsets = np.broadcast_to(dressing.at(forecasts.means), (*forecasts.means.shape, len(LEVELS)))
    inside = (forecasts.errors >= offsets[..., 0]) & (forecasts.errors <= offsets[..., -1])
    return float(inside[chosen].mean())


def test_large_forecasts_get_wider_intervals_where_their_errors_are_larger() -> None:
    def spread(mean: Any) -> Any:
        return np.exp(0.6 * mean)

    seen, unseen, later = (_forecasts(spread, count, seed=seed) for seed, count in enumerate((3000, 500, 3000)))
    plain, sized = fit_dressing(LEVELS, seen.errors), fit_dressing_by_size(LEVELS, seen, unseen)
    for chosen in (later.means < -1, later.means > 1):
        assert abs(_covered(sized, later, chosen) - 0.9) < 0.6 * abs(_covered(plain, later, chosen) - 0.9)
    assert abs(_covered(sized, later, np.isfinite(later.means)) - 0.9) < 0.02


def test_quantiles_are_ordered_at_any_size_and_constant_beyond_the_classes() -> None:
    seen, unseen = (_forecasts(lambda mean: 0.01 + np.abs(mean), count, seed=count) for count in (300, 200))
    dressing = fit_dressing_by_size(LEVELS, seen, unseen)
    assert dressing.by_size.any()
    means = np.linspace(-50, 50, 201, dtype=np.float32)[:, None, None, None] * np.ones((1, 2, 1, 3), np.float32)
    quantiles = dressing(means, np.ones_like(means))
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    offsets = dressing.at(means)
    np.testing.assert_array_equal(offsets[0], offsets[1])
    np.testing.assert_array_equal(offsets[-1], offsets[-2])


def test_a_size_that_does_not_matter_is_left_out() -> None:
    seen, unseen = (_forecasts(np.ones_like, count, seed=count) for count in (400, 100))
    dressing = fit_dressing_by_size(LEVELS, seen, unseen)
    assert dressing.sizes.shape == (2, 1, 0)
    means = np.array([[[[-1, 0, 1]]] * 2], np.float32)
    assert dressing(means, np.ones_like(means)).shape == (1, 2, 1, 3, len(LEVELS))


def test_without_unseen_forecasts_or_with_constant_ones_there_are_no_classes() -> None:
    seen = _forecasts(lambda mean: np.exp(mean), 400, seed=0)
    assert not fit_dressing_by_size(LEVELS, seen, None).by_size.size
    constant = seen._replace(means=np.zeros_like(seen.means))
    assert not fit_dressing_by_size(LEVELS, constant, constant).by_size.any()


def test_missing_errors_and_hardly_any_are_no_problem() -> None:
    seen, unseen = (_forecasts(lambda mean: np.exp(mean), count, seed=count) for count in (400, 100))
    seen.errors[::2] = np.nan
    unseen.errors[:] = np.nan
    assert np.isfinite(fit_dressing_by_size(LEVELS, seen, unseen).offsets).all()
    few = PastForecasts(seen.means[:1], seen.errors[:1], seen.origins[:1])
    few.errors[:] = np.nan
    assert np.isfinite(fit_dressing_by_size(LEVELS, few, few).offsets).all()


@pytest.mark.parametrize("known", range(1, CLASSES))
def test_a_lead_with_fewer_errors_than_classes_has_none(known: int) -> None:
    # One station whose record begins shortly before validation.
    random = np.random.default_rng(0)
    means, errors = random.normal(size=(2, 40, 2, 1, 1)).astype(np.float32)
    unseen = PastForecasts(means, errors.copy(), np.arange(40))
    errors[known:, 0] = np.nan
    dressing = fit_dressing_by_size(LEVELS, PastForecasts(means, errors, np.arange(40)), unseen)
    assert np.isfinite(dressing.at(means)).all()
    assert not dressing.by_size[0].any()


def test_a_class_without_a_forecast_leaves_out_its_lead() -> None:
    # The classes are (.., 1], (1, 1.4], (1.4, 2.6], (2.6, 3.8], above: the second has no forecast.
    means = np.array([0, 1, 1, 2, 3, 4, 5], np.float32).reshape(-1, 1, 1, 1)
    errors = np.linspace(-3, 3, 7, dtype=np.float32).reshape(means.shape)
    forecasts = PastForecasts(means, errors, np.arange(7))
    assert not fit_dressing_by_size(LEVELS, forecasts, forecasts).by_size.any()


def test_classes_of_few_errors_are_shrunk() -> None:
    seen, unseen = (_forecasts(lambda mean: np.exp(mean), count, seed=1) for count in (10, 400))
    many = _forecasts(lambda mean: np.exp(mean), 4000, seed=1)
    small, large = (np.abs(fit_dressing_by_size(LEVELS, one, unseen).by_size).max() for one in (seen, many))
    assert small < large


def test_dressings_of_earlier_versions_load_without_sizes(world: World) -> None:
    task = world.task
    shape = (task.leads, len(task.targets), len(task.locations), len(task.quantile_levels))
    offsets = np.zeros(shape, np.float32)
    old = Dressing.from_state(task, {"offsets": offsets})
    assert old.sizes.shape == (*shape[:2], 0)
    sized = replace(
        old,
        sizes=np.zeros((*shape[:2], CLASSES), np.float32),
        by_size=np.ones((*shape[:2], CLASSES, shape[-1]), np.float32),
    )
    again = Dressing.from_state(task, sized.state())
    assert again.by_size.tobytes() == sized.by_size.tobytes()
