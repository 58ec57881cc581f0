"""The explanation of a model as data. Numbers that are not known are None, since it is stored as JSON."""

from __future__ import annotations

from datetime import datetime
from math import isfinite

from pydantic import BaseModel, ConfigDict

from pipeline.training.explanation.groups import GroupKind

CLEAR = 2.0
"""Standard errors by which a loss must differ from 0 to count as more than chance."""


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class GroupLoss(_Facts):
    """How much worse the forecasts are when one group of inputs is withheld."""

    kind: GroupKind
    """all: everything, or all observations or covariates; location: one station or cell; region: several that lie
    together; variable; lag: frames of some ages; covariate."""
    name: str
    """Id of the location, name of the variable or covariate, or first lag in steps."""
    title: str
    """The group in words."""
    loss: float | None
    """Relative increase of the mean CRPS over all leads, 0.03 for 3 % worse; variables count the same. Below 0 the
    forecasts are better without the group: the model learnt noise from it."""
    error: float | None
    """Standard error of `loss`, from blocks of issue times; None where there are too few."""
    loss_by_lead: tuple[float | None, ...]
    error_by_lead: tuple[float | None, ...]
    loss_by_variable: tuple[float | None, ...]
    """In the order of `Explanation.variables`."""

    @property
    def is_clear(self) -> bool:
        """Whether the loss differs from 0 by more than two standard errors."""
        return self.loss is not None and self.error is not None and abs(self.loss) > CLEAR * self.error


class Influence(_Facts):
    """How one group of inputs moved the median of one forecast, for one variable."""

    kind: GroupKind
    name: str
    title: str
    variable: str
    mean_change: float
    """Mean absolute change of the median over leads and locations without the group, in the unit of the variable."""
    largest_change: float
    """Largest change: the median without the group, minus the median with all input."""
    location: str
    """Id of the location of the largest change."""
    place: str
    """Its name."""
    lead: int
    """Its lead in steps after the issue time, from 1."""


class Weight(_Facts):
    """The mean attention weight of a frame or a location."""

    title: str
    weight: float


class Attention(_Facts):
    """Mean attention weights of a network. They tell where it looks, not what its forecasts rest on."""

    frames: tuple[Weight, ...] = ()
    """Every frame, the newest first, over all leads; the weights sum to 1. Empty without attention over time."""
    locations: tuple[Weight, ...] = ()
    """The locations with the greatest weights, greatest first; those of all locations sum to 1. Empty without attention
    over space."""


class Explanation(_Facts):
    """What the forecasts of a model rest on, measured on issue times that the measured fit had not seen."""

    model: str
    issues: int
    """Number of issue times forecast with and without each group."""
    since: datetime
    until: datetime
    forecasts: int
    """Number of forecasts made for it, each of one issue time."""
    variables: tuple[str, ...]
    crps: tuple[float | None, ...]
    """Mean CRPS of each variable with all input, in its unit."""
    groups: tuple[GroupLoss, ...]
    """All input first."""
    attention: Attention | None = None
    """None for a model without attention."""


def known(value: float) -> float | None:
    """Return a number with six significant digits, or None if it is not finite."""
    return float(f"{value:.6g}") if isfinite(value) else None
