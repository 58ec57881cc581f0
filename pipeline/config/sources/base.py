"""What every source says in a product file, whatever its kind."""

from __future__ import annotations

from typing import Literal

from pipeline.config.base import Strict

TimeLabel = Literal["start", "end"]


class SourceSpec(Strict):
    """The source part of a feed. Each kind has a subclass with a literal `kind`, found through entry points."""

    kind: str
    """Names the source: one of the kinds that are installed."""

    @property
    def time_label(self) -> TimeLabel:
        """Which end of its period a provider's stamp marks; people are shown the same."""
        return "end"

    @property
    def needs(self) -> str:
        """Optional dependency of Nightcast that brings what a ``package:`` path names; empty for none."""
        return ""
