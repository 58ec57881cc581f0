"""ARIMA of each location's anomaly, estimated by statsmodels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from statsmodels.tsa.statespace.sarimax import SARIMAX

from models.baselines.statespace import Doubles, StateSpaceBaseline, System, make_system

_ORDERS = ((1, 0, 0), (2, 0, 0), (3, 0, 0), (1, 0, 1), (2, 0, 1), (0, 1, 1), (1, 1, 1))
_ITERATIONS = 30


class Arima(StateSpaceBaseline):
    """ARIMA(p, d, q) for each location and target, with the order chosen by AIC among seven.

    Parameters are estimated from the training record; a forecast filters the context with them, which handles gaps
    exactly. See `StateSpaceBaseline` for the options.
    """

    name: ClassVar[str] = "arima"
    states = 3

    def _candidates(self, series: Doubles) -> Iterator[tuple[float, System]]:
        for order in _ORDERS:
            model = SARIMAX(series, order=order, trend="n", concentrate_scale=True)
            try:
                result = model.fit(disp=0, maxiter=_ITERATIONS, cov_type="none", low_memory=True)
                ssm = model.ssm
                root = ssm["selection"] * np.sqrt(ssm["state_cov"] * result.scale)
                yield result.aic, make_system(ssm["transition"], root @ root.T, ssm["design"][0], levels=order[1])
            except (np.linalg.LinAlgError, ValueError):
                # This order cannot be estimated from this series.
                continue
