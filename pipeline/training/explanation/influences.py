"""What moved one forecast: the change of its median when a group of inputs is withheld."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from models.base import Model
from models.task import Inputs
from pipeline.features.windows import IssueWindows
from pipeline.locations import Locations
from pipeline.training.evaluate import forecast_size, predict_published
from pipeline.training.explanation.facts import Influence
from pipeline.training.explanation.groups import InputGroup

MOST_VALUES = 10_000_000
"""Most quantile values in the forecasts with and without all groups; larger forecasts are not explained each time."""


def measure_influences(
    model: Model, windows: IssueWindows, groups: Sequence[InputGroup], locations: Locations
) -> tuple[Influence, ...]:
    """Return how each group of inputs moved the median of the first window, greatest mean change of a variable first.

    All input together is left out. Nothing is returned for a forecast with too many values, whose cost would delay it.

    Raises:
        ModelError: the model cannot forecast the window.
    """
    task, parts = windows.task, [group for group in groups if group.kind != "all"]
    if not parts or forecast_size(task) * (len(parts) + 1) > MOST_VALUES:
        return ()
    inputs = windows.inputs(np.array([0]))
    together = _joined([inputs, *(group.withhold(inputs) for group in parts)])
    gaps = np.repeat(windows.gaps[:1], len(together))
    quantiles = predict_published(model, together, gaps, windows.horizon)
    median = quantiles[..., task.quantile_levels.index(0.5)].astype(np.float64)
    found = [
        _describe(group, task.targets[target], locations, median[index, :, target] - median[0, :, target])
        for target in range(len(task.targets))
        for index, group in enumerate(parts, 1)
    ]
    return tuple(sorted(found, key=lambda one: (task.targets.index(one.variable), -one.mean_change)))


def _describe(group: InputGroup, variable: str, locations: Locations, change: NDArray[np.float64]) -> Influence:
    lead, location = np.unravel_index(np.abs(change).argmax(), change.shape)
    return Influence(
        kind=group.kind,
        name=group.name,
        title=group.title,
        variable=variable,
        mean_change=float(f"{np.abs(change).mean():.4g}"),
        largest_change=float(f"{change[lead, location]:.4g}"),
        location=locations.ids[int(location)],
        place=locations.names[int(location)],
        lead=int(lead) + 1,
    )


def _joined(parts: Sequence[Inputs]) -> Inputs:
    """Return inputs of several issue times as one."""
    columns = ([getattr(part, field.name) for part in parts] for field in fields(Inputs))
    return Inputs(*(None if column[0] is None else np.concatenate(column) for column in columns))  # type: ignore[arg-type]
