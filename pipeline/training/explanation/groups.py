"""Groups of inputs that are withheld from a model, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.task import Inputs, Task
from pipeline.config import Product
from pipeline.locations import Locations
from pipeline.report.typography import lead_name
from pipeline.training.evaluate import ALL, NONE, withhold
from pipeline.training.explanation.regions import divide

GroupKind = Literal["all", "location", "region", "variable", "lag", "covariate"]


@dataclass(frozen=True)
class InputGroup:
    """A part of the input: some frames, variables and locations of the observations, some of the covariates."""

    kind: GroupKind
    name: str
    """Id of the location, name of the variable or covariate, or first lag in steps; unique within the kind."""
    title: str
    """For people, so that it can follow `without`."""
    frames: slice = field(default_factory=lambda: ALL)
    channels: slice = field(default_factory=lambda: ALL)
    locations: NDArray[np.bool_] | None = None
    """(location,); None for all."""
    covariates: slice = field(default_factory=lambda: NONE)

    def withhold(self, inputs: Inputs) -> Inputs:
        """Return the inputs as if the group had not arrived."""
        return withhold(
            inputs,
            frames=self.frames,
            channels=self.channels,
            locations=self.locations,
            covariates=self.covariates,
        )


def input_groups(task: Task, product: Product, locations: Locations) -> tuple[InputGroup, ...]:
    """Return all input together, then each location or region, variable, band of lags and covariate.

    A group that would be the same as another is left out, such as the only station. Lags are counted in frames from
    the newest frame that may be known, in bands that double in length: 0, 1, 2 to 3, 4 to 7, and so on. Covariates are
    withheld at all locations and leads, and not with the observations of a location.
    """
    return tuple(_groups(task, product, locations))


def _groups(task: Task, product: Product, locations: Locations) -> Iterator[InputGroup]:
    yield InputGroup("all", "input", "any input", covariates=ALL)
    if task.covariates:
        yield InputGroup("all", "observations", "any observation")
    if len(task.covariates) > 1:
        yield InputGroup("all", "covariates", "any covariate", channels=NONE, covariates=ALL)
    regions = divide(locations)
    if len(regions) > 1:
        for region in regions:
            kind: GroupKind = "location" if region.is_single else "region"
            yield InputGroup(kind, region.name, region.title, locations=region.members)
    if len(task.channels) > 1:
        for index, name in enumerate(task.channels):
            title = _lower(product.feed.variable(name).long_name)
            yield InputGroup("variable", name, title, channels=slice(index, index + 1))
    if task.context > 1:
        for first, last in lag_bands(task.context):
            frames = slice(task.context - 1 - last, task.context - first)
            yield InputGroup("lag", str(first), lag_title(first, last, product), frames=frames)
    for index, name in enumerate(task.covariates):
        feed, _, variable = name.partition(".")
        title = f"{_lower(product.covariates[feed].variable(variable).long_name)} of {feed}"
        yield InputGroup("covariate", name, title, channels=NONE, covariates=slice(index, index + 1))


def lag_bands(context: int) -> list[tuple[int, int]]:
    """Return the first and last lag of each band: 0, 1, 2 to 3, 4 to 7, ..., up to the length of the context."""
    starts = [0, *(2**power for power in range(context.bit_length()) if 2**power < context)]
    return [(first, min(max(2 * first - 1, 0), context - 1)) for first in starts]


def lag_title(first: int, last: int, product: Product) -> str:
    """Return such as ``values 2 d to 3 d before the newest``."""
    if last == 0:
        return "the newest values"
    step = product.feed.step
    span = lead_name(first, step) if first == last else f"{lead_name(first, step)} to {lead_name(last, step)}"
    return f"values {span} before the newest"


def _lower(text: str) -> str:
    """Return a name for the middle of a sentence; an abbreviation stays as it is."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
