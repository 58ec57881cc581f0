"""The source part of a feed: one kind of several, found through entry points so that others can add theirs.

A package that brings a source names two things: its specification, a `SourceSpec`, in the group
``nightcast.source_specs``, and its reader in ``nightcast.sources`` (see `pipeline.ingest.sources`).
"""

from __future__ import annotations

from functools import reduce
from importlib.metadata import entry_points
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from pipeline.config.sources.base import SourceSpec
from pipeline.config.sources.files import FilesSource
from pipeline.config.sources.timestamps import TimeStamps

__all__ = ["AnySource", "FilesSource", "SourceSpec", "TimeStamps"]

GROUP = "nightcast.source_specs"


def _kinds() -> Any:
    """Return the union of all installed kinds, told apart by `kind`."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    specs = [entry.load() for entry in found]
    return Annotated[reduce(or_, specs), Field(discriminator="kind")] if len(specs) > 1 else specs[0]


if TYPE_CHECKING:
    AnySource = SourceSpec
else:
    AnySource = _kinds()
