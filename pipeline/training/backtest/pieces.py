"""The forecasts of finished pieces, as files: a repeated backtest makes only those that are missing."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.store.objects import ObjectStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PieceForecasts:
    """What one model forecast from one origin."""

    quantiles: NDArray[np.float32]
    """(issue, lead, target, location, quantile), NaN where there is no forecast; no issue at all without a fit."""
    seconds: float
    """Time that fitting and forecasting took."""
    problem: str = ""
    """Why forecasts are missing, or how the fit differs from the usual one."""


class PieceStore:
    """Finished pieces by name. A file is written whole or not at all; a damaged one counts as missing."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def __contains__(self, name: object) -> bool:
        return self._store.exists(f"{name}.npz")

    def write(self, name: str, piece: PieceForecasts) -> None:
        """Store the forecasts of a piece.

        Raises:
            StoreError: the store cannot be written.
        """
        content = io.BytesIO()
        facts = json.dumps({"seconds": piece.seconds, "problem": piece.problem})
        np.savez_compressed(content, quantiles=piece.quantiles, facts=np.array(facts))
        self._store.put(f"{name}.npz", content.getvalue())

    def read(self, name: str) -> PieceForecasts | None:
        """Return the forecasts of a piece, or None if it is missing or damaged.

        Raises:
            StoreError: the store cannot be read.
        """
        content = self._store.get(f"{name}.npz")
        if content is None:
            return None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:  # zip files have checksums
                return PieceForecasts(arrays["quantiles"], **json.loads(str(arrays["facts"])))
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            log.warning("%s/%s.npz is damaged and is made again: %s", self._store, name, error)
            self._store.delete(f"{name}.npz")
            return None
