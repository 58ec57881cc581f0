"""Exponential smoothing of each location's anomaly, estimated by statsmodels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from statsmodels.tsa.statespace import exponential_smoothing

from models.baselines.statespace import Doubles, StateSpaceBaseline, System, make_system

_ITERATIONS = 30


class ExponentialSmoothing(StateSpaceBaseline):
    """ETS(A,N,N) or, where AIC prefers it, ETS(A,Ad,N) with a damped trend, for each location and target.

    The climate accounts for seasonality. Smoothing parameters are estimated from the training record (linear
    state-space form of Hyndman et al. 2008); a forecast filters the context with them. See `StateSpaceBaseline` for the
    options.
    """

    name: ClassVar[str] = "ets"
    states = 3

    def _candidates(self, series: Doubles) -> Iterator[tuple[float, System]]:
        for damped in (False, True):
            initial = {"initial_level": 0.0} | ({"initial_trend": 0.0} if damped else {})
            model = exponential_smoothing.ExponentialSmoothing(
                series,
                trend=damped,
                damped_trend=damped,
                initialization_method="known",
                concentrate_scale=True,
                **initial,
            )
            try:
                result = model.fit(disp=0, maxiter=_ITERATIONS, cov_type="none", low_memory=True)
                ssm = model.ssm
                # The states are error, level and slope; `make_system` expects the level first.
                order = [1, 0, 2] if damped else [1, 0]
                transition = ssm["transition"][np.ix_(order, order)]
                root = ssm["selection"][order] * np.sqrt(ssm["state_cov"] * result.scale)
                yield result.aic, make_system(transition, root @ root.T, ssm["design"][0, order], levels=1)
            except (np.linalg.LinAlgError, ValueError):
                # This trend cannot be estimated from this series.
                continue
