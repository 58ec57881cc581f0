from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.times import Cadence
from pipeline.training.search.comparison import compare
from pipeline.training.search.study import Trial
from tests.conftest import ProductHome

START = datetime(2001, 1, 1, 7, tzinfo=UTC)


@pytest.fixture
def cadence(fresh: Callable[..., ProductHome]) -> Cadence:
    return fresh(days=30).workspace.cadence


def trial(number: int, *folds: NDArray[np.float64]) -> Trial:
    return Trial(number, "finished", "d", number == 0, {}, 1.0, folds)


def _compare(scores: list[NDArray[np.float64]], cadence: Cadence) -> Any:
    issues = [START + timedelta(days=day) for day in range(len(scores[0]))]
    control, *others = (trial(number, one[:100], one[100:]) for number, one in enumerate(scores))
    return compare(control, others, issues, cadence, seed=0)


def test_the_gain_its_error_and_its_probability(cadence: Cadence) -> None:
    """Independent gains of 0.1 with a deviation of 0.5: the standard error of 400 is 0.025, of a mean of 2."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=400)
    control = 2 + 0.1 * rng.normal(size=400)
    best, found = _compare([control, control - 0.1 + 0.5 * noise, control + 0.2], cadence)
    assert best.number == 1
    assert found.skill == pytest.approx((0.1 - 0.5 * noise.mean()) / control.mean())
    assert found.standard_error == pytest.approx(0.0125, rel=0.15)
    assert found.p_value < 0.01
    assert found.distinguishable


def test_the_best_of_many_that_are_equal_is_not_better(cadence: Cadence) -> None:
    """Each of 40 trials differs by chance; the best alone would look significant in most draws."""
    naive, honest = 0, 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        control = 2 + rng.normal(size=300)
        others = [control + rng.normal(size=300) for _ in range(40)]
        _, found = _compare([control, *others], cadence)
        naive += found.skill > 1.64 * found.standard_error
        honest += found.distinguishable
    assert naive >= 20
    assert honest <= 4


def test_issue_times_without_truth_do_not_count(cadence: Cadence) -> None:
    control = np.full(200, 2.0)
    other = np.full(200, 1.5)
    control[::2] = np.nan
    other[::2] = np.nan
    _, found = _compare([control, other], cadence)
    assert found.skill == pytest.approx(0.25)


def test_worse_options_have_a_negative_skill(cadence: Cadence) -> None:
    rng = np.random.default_rng(0)
    control = 2 + rng.normal(size=300)
    best, found = _compare([control, control + 0.3, control + 0.2], cadence)
    assert best.number == 2
    assert found.skill < 0
    assert found.p_value > 0.5
    assert not found.distinguishable


def test_too_few_issue_times_have_no_error(cadence: Cadence) -> None:
    _, found = _compare([np.full(8, 2.0), np.full(8, 1.0)], cadence)
    assert found.skill == pytest.approx(0.5)
    assert (found.standard_error, found.p_value, found.distinguishable) == (None, None, False)
