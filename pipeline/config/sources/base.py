"""The fields and properties that every kind of source has in a product file."""

from __future__ import annotations

from typing import Literal

from pipeline.config.base import Strict

TimeLabel = Literal["start", "end"]


class SourceSpec(Strict):
    """The source of a feed. Each kind is a subclass with a literal `kind`, found through entry points."""

    kind: str
    """Kind of source; one of those installed."""

    @property
    def time_label(self) -> TimeLabel:
        """Whether the provider's time stamps mark the start or the end of a period; reports use the same label."""
        return "end"

    @property
    def needs(self) -> str:
        """Optional dependency of Nightcast that installs the package of a ``package:`` path; empty for none."""
        return ""
