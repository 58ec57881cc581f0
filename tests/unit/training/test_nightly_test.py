"""The gate's whole test, night after night: how often equal recipes pass, and when a better one does."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pipeline.training.batch_test import compare_groups
from pipeline.training.nightly_test import nightly_p_values
from tests.score_simulation import BATCH, simulate_gains

SIGNIFICANCE = 0.05
YEAR = 365


def p_values(
    gains: NDArray[np.float64], overlap: int, *, batch: int = BATCH, challengers: int = 1
) -> NDArray[np.float64]:
    nothing = np.zeros_like(gains)
    return nightly_p_values(-gains, nothing, batch, overlap, significance=SIGNIFICANCE, challengers=challengers)


@pytest.mark.parametrize("challengers", [1, 4])
def test_equal_recipes_seldom_pass_on_any_night_of_a_year(challengers: int) -> None:
    passed = p_values(simulate_gains(2000, BATCH + YEAR, 3, seed=11), 3, challengers=challengers) <= SIGNIFICANCE
    ever = int(passed.any(axis=1).sum())
    assert stats.binomtest(ever, 2000, SIGNIFICANCE, alternative="greater").pvalue > 0.05


@pytest.mark.parametrize(
    ("overlap", "nightly", "batch", "share"),
    [(3, 1, BATCH, 0.55), (5, 4, 4 * YEAR, 0.8)],
    ids=["daily", "hourly, scored every 6 h"],
)
def test_a_recipe_that_is_2_percent_better_passes_within_a_year(
    overlap: int, nightly: int, batch: int, share: float
) -> None:
    """With the level shared by four challengers; see the table in tests/benchmarks/README.md."""
    gains = simulate_gains(300, batch + YEAR * nightly, overlap, seed=12, gain=0.02)
    passed = p_values(gains, overlap, batch=batch, challengers=4)[:, -1] <= SIGNIFICANCE
    assert passed.mean() > share


def test_the_first_night_is_decided_by_groups_and_later_nights_never_take_evidence_back() -> None:
    gains = simulate_gains(20, BATCH + 30, 3, seed=13, gain=0.03)
    found = p_values(gains, 3)
    assert (found[:, : BATCH - 1] == 1).all()
    groups = compare_groups(-gains[:, :BATCH], np.zeros((20, BATCH)), 3)
    assert (found[:, BATCH - 1] <= np.minimum(2 * groups, 1)).all()
    assert (np.diff(found[:, BATCH - 1 :], axis=1) <= 0).all()


def test_too_few_cases_are_no_evidence() -> None:
    assert (p_values(simulate_gains(5, 60, 3, seed=14, gain=0.2), 3, batch=40) == 1).all()
