"""Boosted regression trees by LightGBM, kept as its own text and never pickled."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

_FOLDS = 4
_PATIENCE = 30
# Fewer rows teach nothing.
_FEWEST = 200

Floats = NDArray[np.float32]
Text = NDArray[np.uint8]


class Trees:
    """A sum of trees; the trees of an empty text say 0.

    Args:
        text: LightGBM's text of a model, UTF-8 bytes.

    Raises:
        ModelError: the text is not one, or LightGBM cannot be loaded.
    """

    def __init__(self, text: Text) -> None:
        lightgbm = library()
        self.text = text
        self._booster: Any = None
        if not text.size:
            return
        try:
            self._booster = lightgbm.Booster(model_str=text.tobytes().decode())
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
            raise ModelError(f"state: these are no trees of LightGBM: {error}") from error

    def __call__(self, x: Floats) -> Floats:
        """What the trees say (row,) of features (row, feature), NaN where unknown."""
        if self._booster is None or not len(x):
            return np.zeros(len(x), np.float32)
        found: Floats = self._booster.predict(x).astype(np.float32)
        return found

    @property
    def parameters(self) -> int:
        """How many leaves and thresholds there are."""
        return sum(2 * int(leaves) - 1 for leaves in re.findall(rb"\nnum_leaves=(\d+)", self.text.tobytes()))


def grow(x: Floats, y: Floats, *, rounds: int, leaves: int, learning_rate: float) -> Trees:
    """Trees of least squared error: the same rows in the same order give the same trees.

    How many, at most `rounds`, is judged by each quarter of the rows on trees grown from the other three, which
    tells more than one held-out year. Too few rows give no trees.

    Args:
        x: features (row, feature), NaN where unknown, in order of time.
        y: what is to be said of each row.
        rounds: most trees.
        leaves: most leaves of a tree.
        learning_rate: what a tree adds of what it learnt.
    """
    if len(y) < _FEWEST:
        return Trees(np.empty(0, np.uint8))
    lightgbm = library()
    options = {
        "objective": "regression",
        "learning_rate": learning_rate,
        "num_leaves": leaves,
        "min_data_in_leaf": int(np.clip(len(y) // 100, 20, 200)),
        "lambda_l2": 10.0,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.5,
        "bagging_freq": 1,
        # LightGBM takes as many threads as OMP_NUM_THREADS says; their number changes nothing.
        "deterministic": True,
        "force_row_wise": True,
        "seed": 0,
        "verbosity": -1,
    }
    rows = lightgbm.Dataset(x, y, params=options, free_raw_data=False)
    quarters = np.array_split(np.arange(len(y)), _FOLDS)
    judged = lightgbm.cv(
        options,
        rows,
        rounds,
        folds=[(np.setdiff1d(np.arange(len(y)), quarter), quarter) for quarter in quarters],
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
    )
    best = int(np.argmin(judged["valid l2-mean"])) + 1
    grown = lightgbm.train(options, lightgbm.Dataset(x, y, params=options), best)
    return Trees(np.frombuffer(grown.model_to_string().encode(), np.uint8))


def library() -> Any:
    """LightGBM.

    Raises:
        ModelError: it cannot be loaded, most often because the OpenMP runtime of the system is missing.
    """
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise ModelError(
            f"gradient-boosting: LightGBM cannot be loaded ({error}); it needs the system package libgomp1"
        ) from error
    return lightgbm
