"""Whether the best options are better than the present ones, on the issue times that both were scored on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.times import Cadence
from pipeline.training.backtest.bootstrap import SkillBootstrap, block_length
from pipeline.training.search.study import Trial

SIGNIFICANCE = 0.05

Array = NDArray[np.float64]


class Comparison(BaseModel):
    """The best options beside the present ones, by paired scores of the same issue times."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    skill: float
    """1 - mean CRPS of the best options / that of the present ones."""
    standard_error: float | None
    """Of the skill, by a moving-block bootstrap over issue times; None if there are too few."""
    p_value: float | None
    """Probability of so large a gain for the best of all trials if none were better than the present options."""
    block: int
    """Issue times in a block."""

    distinguishable: bool
    """Whether the p-value is at most 5 %."""


def compare(
    control: Trial, trials: Sequence[Trial], issues: Sequence[datetime], cadence: Cadence, *, seed: int
) -> tuple[Trial, Comparison]:
    """Return the best of some trials, and its comparison with the control. All have scores of the same issue times.

    The best of many trials looks better than it is. So the p-value is that of White's reality check (2000,
    doi:10.1111/1468-0262.00152): the gain of the best is compared with the largest of the gains of all trials in each
    draw of the bootstrap, less their means.
    """
    known = np.logical_and.reduce([np.isfinite(one.by_issue) for one in (control, *trials)])
    reference = np.where(known, control.by_issue, 0.0)
    gains = np.stack([np.where(known, control.by_issue - one.by_issue, 0.0) for one in trials])
    best = int(gains.mean(axis=1).argmax())
    block = block_length([cadence.lead_times(issue) for issue in issues])
    bootstrap = SkillBootstrap(len(issues), block, seed=seed)
    skill = float(gains[best].sum() / reference.sum())
    draws = [bootstrap.means(gain) for gain in gains]
    error = p_value = None
    if draws[best] is not None:
        surplus = np.stack([draw - gain.mean() for draw, gain in zip(draws, gains, strict=True) if draw is not None])
        error = float(surplus[best].std() / reference.mean())
        p_value = float((surplus.max(axis=0) >= gains[best].mean()).mean())
    distinguishable = p_value is not None and p_value <= SIGNIFICANCE
    return trials[best], Comparison(
        skill=skill, standard_error=error, p_value=p_value, block=block, distinguishable=distinguishable
    )
