from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipeline.training.backtest.bootstrap import SkillBootstrap, block_length

START = datetime(2001, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _valid_times(issues: int, *, every: int, leads: int) -> list[list[datetime]]:
    return [[START + (issue * every + lead) * HOUR for lead in range(leads)] for issue in range(issues)]


@pytest.mark.parametrize(
    ("issues", "every", "leads", "expected"),
    [
        (20, 1, 6, 6),  # a forecast of six hours overlaps those of the next five
        (20, 6, 6, 3),  # no overlap: the cube root of 20
        (20, 4, 6, 3),
        (1000, 6, 6, 10),
        (4, 1, 6, 4),
        (1, 1, 6, 1),
    ],
)
def test_a_block_holds_the_forecasts_that_overlap(issues: int, every: int, leads: int, expected: int) -> None:
    assert block_length(_valid_times(issues, every=every, leads=leads)) == expected


def test_equal_seeds_give_equal_intervals_around_the_skill() -> None:
    random = np.random.default_rng(3)
    reference = random.gamma(2, size=200)
    scores = 0.8 * reference + random.normal(scale=0.2, size=200)
    first, again, other = (SkillBootstrap(200, 4, seed=seed).interval(scores, reference) for seed in (1, 1, 2))
    assert first == again != other
    assert first is not None
    low, high = first
    assert 0 < low < 1 - scores.sum() / reference.sum() < high < 0.4


def test_a_model_that_is_always_a_tenth_better_has_no_spread() -> None:
    reference = np.random.default_rng(4).gamma(2, size=100)
    found = SkillBootstrap(100, 5, seed=0).interval(0.9 * reference, reference)
    assert found == pytest.approx((0.1, 0.1))


def test_there_is_no_interval_for_fewer_than_five_blocks_or_a_reference_without_scores() -> None:
    assert SkillBootstrap(19, 4, seed=0).interval(np.ones(19), np.ones(19)) is None
    assert SkillBootstrap(40, 4, seed=0).interval(np.zeros(40), np.zeros(40)) is None
    assert SkillBootstrap(0, 1, seed=0).interval(np.zeros(0), np.zeros(0)) is None


def test_intervals_cover_the_true_skill_about_as_often_as_they_say() -> None:
    """Scores with the autocorrelation of overlapping forecasts; blocks of single issue times would cover 70 %."""
    random = np.random.default_rng(5)
    issues, covered, narrow = 400, 0, 0
    for number in range(100):
        noise = random.normal(size=(2, issues + 3))
        moving = np.sum([noise[:, lag : lag + issues] for lag in range(4)], axis=0) / 2
        reference, scores = 5 + moving[0], 4.5 + 0.5 * moving[0] + 0.5 * moving[1]
        low, high = SkillBootstrap(issues, 8, seed=number).interval(scores, reference) or (1.0, 0.0)
        covered += low <= 0.1 <= high
        low, high = SkillBootstrap(issues, 1, seed=number).interval(scores, reference) or (1.0, 0.0)
        narrow += low <= 0.1 <= high
    assert 0.88 <= covered / 100 <= 0.99
    assert narrow < covered - 10
