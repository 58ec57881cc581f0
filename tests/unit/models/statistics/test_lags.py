from __future__ import annotations

import numpy as np
import pytest

from models.statistics.lags import autocorrelation


def test_a_correlation_that_chance_would_give_counts_as_none() -> None:
    """White noise seen at few instants: each lag agrees by chance, at all locations alike."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(12, 1, 1)).astype(np.float32)
    anomaly = np.repeat(shared, 20, axis=2)
    found = autocorrelation(anomaly, np.ones(anomaly.shape, bool), 11)
    assert np.abs(found[1:]).max() < 0.75
    # At lag 11 one pair of frames is left: plus or minus 1 whatever they hold.
    assert np.abs(found[11]).max() < 0.05


def test_a_correlation_of_many_instants_stays() -> None:
    rng = np.random.default_rng(0)
    anomaly = np.zeros((4000, 1, 2), np.float32)
    for frame in range(1, 4000):
        anomaly[frame] = 0.8 * anomaly[frame - 1] + 0.6 * rng.normal(size=(1, 2))
    found = autocorrelation(anomaly, np.ones(anomaly.shape, bool), 2)
    np.testing.assert_allclose(found[:, 0], [[1.0, 1.0], [0.8, 0.8], [0.64, 0.64]], atol=0.04)
    assert found[1].mean() == pytest.approx(0.8, abs=0.03)
