"""Boosted regression trees by LightGBM, stored in its text format and never pickled."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

_FOLDS = 4
_PATIENCE = 30
# Minimum number of rows to fit trees.
_MIN_ROWS = 200

Floats = NDArray[np.float32]
Text = NDArray[np.uint8]


class BoostedTrees:
    """A fitted sum of trees; without trees the sum is 0.

    Args:
        text: a model in LightGBM's text format, UTF-8 bytes; empty for no trees.

    Raises:
        ModelError: the text is invalid, or LightGBM cannot be imported.
    """

    def __init__(self, text: Text) -> None:
        lightgbm = import_lightgbm()
        self.text = text
        self._booster: Any = None
        if not text.size:
            return
        try:
            self._booster = lightgbm.Booster(model_str=text.tobytes().decode())
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
            raise ModelError(f"state: not a LightGBM model: {error}") from error

    def __call__(self, x: Floats) -> Floats:
        """Return predictions (row,) from features (row, feature), NaN where unknown."""
        if self._booster is None or not len(x):
            return np.zeros(len(x), np.float32)
        predictions: Floats = self._booster.predict(x).astype(np.float32)
        return predictions

    @property
    def count(self) -> int:
        """Number of trees."""
        return 0 if self._booster is None else int(self._booster.num_trees())

    @property
    def parameters(self) -> int:
        """Number of leaves and thresholds."""
        return sum(2 * int(leaves) - 1 for leaves in re.findall(rb"\nnum_leaves=(\d+)", self.text.tobytes()))


def fit_trees(
    x: Floats, y: Floats, *, rounds: int, leaves: int, learning_rate: float, count: int | None = None
) -> BoostedTrees:
    """Fit trees to the squared error; the same rows in the same order give the same trees.

    Unless it is given, their number, at most `rounds`, is chosen by cross-validation over quarters of the rows, which
    is more reliable than one held-out year. Too few rows give no trees.

    Args:
        x: features (row, feature), NaN where unknown, in order of time.
        y: targets (row,).
        rounds: maximum number of trees.
        leaves: maximum number of leaves of a tree.
        learning_rate: shrinkage of each tree.
        count: number of trees, if it is known.
    """
    if len(y) < _MIN_ROWS or count == 0:
        return BoostedTrees(np.empty(0, np.uint8))
    lightgbm = import_lightgbm()
    options = {
        "objective": "regression",
        "learning_rate": learning_rate,
        "num_leaves": leaves,
        "min_data_in_leaf": int(np.clip(len(y) // 100, 20, 200)),
        "lambda_l2": 10.0,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.5,
        "bagging_freq": 1,
        # LightGBM uses OMP_NUM_THREADS threads; their number does not change the result.
        "deterministic": True,
        "force_row_wise": True,
        "seed": 0,
        "verbosity": -1,
    }
    if count is None:
        count = _choose_count(lightgbm, options, x, y, rounds)
    booster = lightgbm.train(options, lightgbm.Dataset(x, y, params=options), count)
    return BoostedTrees(np.frombuffer(booster.model_to_string().encode(), np.uint8))


def _choose_count(lightgbm: Any, options: dict[str, Any], x: Floats, y: Floats, rounds: int) -> int:
    """Return the number of trees with the least error in cross-validation over quarters of the rows."""
    rows = lightgbm.Dataset(x, y, params=options, free_raw_data=False)
    quarters = np.array_split(np.arange(len(y)), _FOLDS)
    scores = lightgbm.cv(
        options,
        rows,
        rounds,
        folds=[(np.setdiff1d(np.arange(len(y)), quarter), quarter) for quarter in quarters],
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
    )
    return int(np.argmin(scores["valid l2-mean"])) + 1


def import_lightgbm() -> Any:
    """Return the lightgbm module.

    Raises:
        ModelError: it cannot be imported, usually because the system has no OpenMP runtime.
    """
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise ModelError(
            f"gradient-boosting: cannot import LightGBM ({error}); install the system package libgomp1"
        ) from error
    return lightgbm
