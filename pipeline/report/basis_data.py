"""What the section "What the forecast rests on" shows, as plain frozen objects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

InputKind = Literal["all", "location", "region", "variable", "lag", "covariate"]


@dataclass(frozen=True, kw_only=True)
class InputLoss:
    """How much worse the forecasts are without one group of inputs; a number is NaN where unknown.

    Attributes:
        kind: What the group is.
        title: The group in words that can follow "without".
        loss: Relative increase of the mean CRPS over all leads, 0.03 for 3 % worse.
        error: Its standard error.
        is_clear: Whether the loss is more than chance.
        by_lead: Loss at each lead.
        error_by_lead: Its standard error at each lead.
    """

    kind: InputKind
    title: str
    loss: float
    error: float
    is_clear: bool
    by_lead: tuple[float, ...]
    error_by_lead: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class InputMove:
    """How one group of inputs moved the median of this forecast.

    Attributes:
        title: The group in words that can follow "without".
        variable: Name of the variable, such as "Wind speed".
        units: Its units, as UDUNITS text.
        mean_change: Mean absolute change over locations and times.
        largest_change: Largest change: the median without the group, minus the median of this forecast.
        place: Name of the location of the largest change.
        valid_time: Its valid time (period end).
    """

    title: str
    variable: str
    units: str
    mean_change: float
    largest_change: float
    place: str
    valid_time: datetime


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What the forecasts of the champion rest on.

    Attributes:
        losses: Groups of inputs, all input first.
        issues: Number of issue times on which the losses were measured.
        since: First of them.
        until: Last of them.
        moves: What moved this forecast most, greatest first.
        frame_weights: Mean attention weight of frames, such as ("the newest values", 0.4); empty without attention
            over time.
        location_weights: Mean attention weight of locations by name; empty without attention over space.
    """

    losses: tuple[InputLoss, ...]
    issues: int
    since: datetime
    until: datetime
    moves: tuple[InputMove, ...] = ()
    frame_weights: tuple[tuple[str, float], ...] = ()
    location_weights: tuple[tuple[str, float], ...] = ()
