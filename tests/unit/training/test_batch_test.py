from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.training.batch_test import MOST_GROUPS, SHORTEST, compare_groups
from tests.score_simulation import BATCH, simulate_gains

PRODUCTS = 2000


@pytest.mark.parametrize(("overlap", "cases"), [(1, BATCH), (3, BATCH), (3, 60), (25, 1500)])
def test_equal_recipes_pass_at_most_as_often_as_stated(overlap: int, cases: int) -> None:
    gains = simulate_gains(PRODUCTS, cases, overlap, seed=1)
    p_values = compare_groups(1 - gains, np.ones_like(gains), overlap)
    for level in (0.01, 0.05):
        passed = int((p_values <= level).sum())
        assert stats.binomtest(passed, PRODUCTS, 1.15 * level, alternative="greater").pvalue > 0.01


def test_a_better_recipe_passes_and_a_worse_one_does_not() -> None:
    gains = simulate_gains(PRODUCTS, BATCH, 3, seed=2, gain=0.02)
    scores = 1 - gains, np.ones_like(gains)
    assert (compare_groups(*scores, 3) <= 0.05).mean() > 0.7
    assert (compare_groups(*scores[::-1], 3) <= 0.05).mean() < 0.001


def test_it_is_students_test_of_the_means_of_groups() -> None:
    scores = np.random.default_rng(3).normal(size=(2, MOST_GROUPS * 20))
    means = scores.reshape(2, MOST_GROUPS, 20).mean(axis=-1)
    expected = stats.ttest_1samp(means[1] - means[0], 0, alternative="greater").pvalue
    assert compare_groups(scores[0], scores[1], 5) == pytest.approx(expected)


def test_too_few_cases_and_equal_scores_show_nothing() -> None:
    better, worse = np.ones(4 * SHORTEST * 3), np.full(4 * SHORTEST * 3, 2.0)
    assert compare_groups(better, better, 3) == 1
    noise = np.random.default_rng(4).normal(0, 0.01, len(better))
    assert compare_groups(better + noise, worse, 3) < 0.001
    assert compare_groups((better + noise)[1:], worse[1:], 3) == 1
    assert compare_groups(np.empty(0), np.empty(0), 1) == 1
