"""The `publish` section of a product: one class per format, found through entry points.

A format is one class, an `Output` that is also a `Publisher` (see `pipeline.forecasting.publish.publisher`), registered
in the group ``nightcast.publishers`` under its kind.
"""

from __future__ import annotations

from typing import Annotated

from pipeline.config.base import Strict
from pipeline.config.kinds import InstalledKinds


class Output(Strict):
    """A format in which forecasts are published. Each kind is a subclass with a literal `kind`; options are fields."""

    kind: str
    """Kind of format; one of those installed."""


AnyOutput = Annotated[Output, InstalledKinds("nightcast.publishers")]
