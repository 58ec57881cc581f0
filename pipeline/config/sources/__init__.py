"""The `source` section of a feed: one class per kind of source, found through entry points.

A package that adds a source registers two entry points: its specification, a `SourceSpec`, in the group
``nightcast.source_specs``, and its reader in ``nightcast.sources`` (see `pipeline.ingest.sources`).
"""

from __future__ import annotations

from functools import reduce
from importlib.metadata import entry_points
from operator import or_
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from pipeline.config.sources.base import SourceSpec
from pipeline.config.sources.files import FilesSource
from pipeline.config.sources.timestamps import TimeStamps

__all__ = ["AnySource", "FilesSource", "SourceSpec", "TimeStamps"]

GROUP = "nightcast.source_specs"


class _InstalledKinds:
    """The union of all installed kinds, distinguished by `kind`, which are loaded when a feed is first validated."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
        specs = [entry.load() for entry in found]
        kinds: Any = Annotated[reduce(or_, specs), Field(discriminator="kind")] if len(specs) > 1 else specs[0]
        return handler.generate_schema(kinds)


AnySource = Annotated[SourceSpec, _InstalledKinds()]
