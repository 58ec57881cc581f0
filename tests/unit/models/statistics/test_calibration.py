from __future__ import annotations

import numpy as np
import pytest

from models.statistics.calibration import choose_weight, half_trusted, independent_issues, widening


def test_a_weight_is_chosen_only_for_gains_beyond_chance() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 1))
    sure = np.stack([np.ones((400, 1)), 0.9 + 0.1 * noise, 0.8 + 0.1 * noise])
    hours = np.arange(400)
    assert choose_weight(sure, (0.0, 0.5, 1.0), hours) == [1.0]
    doubtful = np.stack([np.ones((400, 1)), 0.99 + noise - noise.mean(), 2 + noise])
    assert choose_weight(doubtful, (0.0, 0.5, 1.0), hours) == [0.0]


def test_forecasts_overlap_as_far_as_their_issues_are_spaced() -> None:
    """Of 24 hourly leads, 24 forecasts overlap when issued every hour, 4 every six hours, and 1 every day."""
    for spacing, overlap in ((1, 24), (6, 4), (24, 1), (48, 1)):
        assert independent_issues(spacing * np.arange(100), 24)[23] == pytest.approx(100 / overlap)
    np.testing.assert_allclose(independent_issues(6 * np.arange(100), 24)[[0, 5, 11]], [100, 100, 50])
    # A gap of a month counts as one independent issue, and issues of the same frame count once.
    gap = np.concatenate([np.arange(50), 720 + np.arange(51)])
    assert independent_issues(gap, 4)[3] == pytest.approx(101 * (99 / 4 + 1) / 100)
    assert independent_issues(np.arange(100) // 4, 1)[0] == pytest.approx(100 * 24 / 99)
    np.testing.assert_allclose(independent_issues(np.array([7]), 2), [1, 0.5])


def test_issues_far_apart_make_the_same_gain_certain() -> None:
    """A gain of 0.3 standard deviations over 100 issues: 24 overlap in the first case, 4 in the second."""
    noise = np.random.default_rng(0).normal(size=(100, 1))
    noise = (noise - noise.mean()) / noise.std()
    losses = np.ones((2, 100, 24))
    losses[1, :, 23:] = 0.7 + noise
    issues = np.arange(100)
    assert choose_weight(losses, (0.0, 1.0), issues)[23] == 0.0
    assert choose_weight(losses, (0.0, 1.0), 6 * issues)[23] == 1.0


def test_widening_is_half_trusted_and_never_narrows() -> None:
    assert half_trusted(0.5) == 1.0
    assert half_trusted(2.25) == 1.5
    seen, unseen = np.array([1, -1, np.nan], np.float32), np.array([4, -4], np.float32)
    assert widening(seen, unseen) == 2.0
    assert widening(seen, np.full(3, np.nan, np.float32)) == 1.0
