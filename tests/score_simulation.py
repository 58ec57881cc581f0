"""Paired scores of two recipes as forecasts that overlap in time give them: correlated, volatile and skewed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

BATCH = 365
"""Cases of the first retrain; later nights add to them."""
NOISE = 0.107
"""Standard deviation of a gain per case, relative to the rival's mean score.

That of ridge-var over damped-anomaly on 12 Irish stations, 1971-78: mean 0.0195, correlations 0.36, 0.15 and 0.03 after
one, two and three days, skewness -0.3, kurtosis 6.
"""


def simulate_gains(
    products: int, cases: int, overlap: int, *, seed: int, gain: float = 0.0, noise: float = NOISE, regimes: float = 0.0
) -> NDArray[np.float64]:
    """Return how much lower the challenger's scores are, relative to the rival's mean: (product, case).

    Half of the variance belongs to errors at valid times, which `overlap` cases share, with skewed and now and then
    large losses; the other half to each case. The variance changes by a factor of about 6 from week to week and 2 over
    the year. `regimes` is the standard deviation of an advantage that lasts for days and is zero on average.
    """
    rng = np.random.default_rng(seed)
    steps = cases + overlap
    season = np.sin(2 * np.pi * (np.arange(steps) / 365 + rng.random((products, 1))))
    volatility = np.exp(0.45 * _persistent(rng, products, steps, 0.9) + 0.15 * season)
    shared = (2 - rng.standard_gamma(2, (products, steps))) * volatility
    sums = shared.cumsum(axis=1)
    overlapping = sums[:, overlap:] - sums[:, :-overlap]
    own = rng.standard_normal((products, cases)) * volatility[:, :cases]
    gains = overlapping / overlapping.std() + own / own.std()
    advantage = regimes * _persistent(rng, products, cases, 0.8)
    scaled: NDArray[np.float64] = gain + noise * gains / gains.std() + advantage
    return scaled


def _persistent(rng: np.random.Generator, products: int, cases: int, memory: float) -> NDArray[np.float64]:
    """Return an autoregressive process of variance 1 in equilibrium: (product, case)."""
    warm_up = 50
    shocks = rng.standard_normal((products, warm_up + cases)) * np.sqrt(1 - memory**2)
    values: NDArray[np.float64] = lfilter([1], [1, -memory], shocks, axis=1)[:, warm_up:]
    return values
