"""Exponential smoothing of each location's anomaly, estimated by statsmodels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from statsmodels.tsa.statespace import exponential_smoothing

from models.baselines.statespace import Doubles, StateSpaceBaseline, System, integrated

_ITERATIONS = 30


class ExponentialSmoothing(StateSpaceBaseline):
    """ETS(A,N,N) or, where AIC prefers it, ETS(A,Ad,N) with a damped trend, of each location and target.

    The season is the climate's, so none is left here. The smoothing is that of the training record (Hyndman
    et al. 2008, in their linear state-space form); a forecast filters the context with it. See
    `StateSpaceBaseline` for the options.
    """

    name: ClassVar[str] = "ets"
    states = 3

    def _candidates(self, series: Doubles) -> Iterator[tuple[float, System]]:
        for damped in (False, True):
            first = {"initial_level": 0.0} | ({"initial_trend": 0.0} if damped else {})
            model = exponential_smoothing.ExponentialSmoothing(
                series,
                trend=damped,
                damped_trend=damped,
                initialization_method="known",
                concentrate_scale=True,
                **first,
            )
            try:
                found = model.fit(disp=0, maxiter=_ITERATIONS, cov_type="none", low_memory=True)
                form = model.ssm
                # Of the states error, level and slope, the level is to come first.
                order = [1, 0, 2] if damped else [1, 0]
                transition = form["transition"][np.ix_(order, order)]
                driven = form["selection"][order] * np.sqrt(form["state_cov"] * found.scale)
                yield found.aic, integrated(transition, driven @ driven.T, form["design"][0, order], levels=1)
            except (np.linalg.LinAlgError, ValueError):
                # This trend cannot be estimated from this series.
                continue
