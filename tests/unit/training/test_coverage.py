from __future__ import annotations

import numpy as np

from pipeline.training.coverage import IntervalCounts, add_counts

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
NAN = float("nan")


def _counts(truth: list[list[float]]) -> IntervalCounts:
    """Count for quantiles -2, -1, 0, 1, 2 at each of two leads and one location; truth is (issue, lead)."""
    values = np.array(truth, np.float32)[:, :, None, None]
    quantiles = np.broadcast_to(np.array([-2, -1, 0, 1, 2], np.float32), (*values.shape, 5))
    return IntervalCounts.of(quantiles, values, LEVELS)


def test_intervals_are_counted_by_lead_ends_included() -> None:
    counts = _counts([[0, 2], [1.5, NAN], [1, 3]])
    assert counts.nominal == (0.8, 0.5)
    assert counts.inside[:, :, 0].tolist() == [[3, 1], [2, 0]]
    assert counts.known[:, 0].tolist() == [3, 2]
    assert counts.coverage == (4 / 5, 2 / 5)
    assert counts.by_lead == ((1.0, 0.5), (2 / 3, 0.0))


def test_counts_add_up_and_a_part_without_counts_leaves_none() -> None:
    first, second = _counts([[0, 0]]), _counts([[9, 1.5]])
    total = add_counts([first, second])
    assert total is not None
    assert total.coverage == (3 / 4, 2 / 4)
    assert add_counts([first, None]) is None
    assert add_counts([]) is None


def test_parts_can_be_taken_and_nothing_observed_has_no_coverage() -> None:
    counts = _counts([[0, NAN]])
    assert counts.at(leads=slice(0, 1)).coverage == (1.0, 1.0)
    assert np.isnan(counts.at(leads=slice(1, 2)).coverage).all()
    assert counts.at(targets=slice(0, 1)).by_lead[0][0] == 1.0


def test_a_median_alone_has_no_interval() -> None:
    counts = IntervalCounts.of(np.zeros((1, 2, 1, 1, 1), np.float32), np.zeros((1, 2, 1, 1), np.float32), (0.5,))
    assert counts.coverage == ()
    assert counts.by_lead == ()
