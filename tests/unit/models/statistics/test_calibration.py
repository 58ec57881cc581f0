from __future__ import annotations

import numpy as np

from models.statistics.calibration import choose_weight, half_trusted, widening


def test_a_weight_is_chosen_only_for_gains_beyond_chance() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 1))
    sure = np.stack([np.ones((400, 1)), 0.9 + 0.1 * noise, 0.8 + 0.1 * noise])
    assert choose_weight(sure, (0.0, 0.5, 1.0)) == [1.0]
    doubtful = np.stack([np.ones((400, 1)), 0.99 + noise - noise.mean(), 2 + noise])
    assert choose_weight(doubtful, (0.0, 0.5, 1.0)) == [0.0]


def test_widening_is_half_trusted_and_never_narrows() -> None:
    assert half_trusted(0.5) == 1.0
    assert half_trusted(2.25) == 1.5
    seen, unseen = np.array([1, -1, np.nan], np.float32), np.array([4, -4], np.float32)
    assert widening(seen, unseen) == 2.0
    assert widening(seen, np.full(3, np.nan, np.float32)) == 1.0
