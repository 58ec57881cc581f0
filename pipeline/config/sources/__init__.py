"""The `source` section of a feed: one class per kind of source, found through entry points.

A package that adds a source registers two entry points: its specification, a `SourceSpec`, in the group
``nightcast.source_specs``, and its reader in ``nightcast.sources`` (see `pipeline.ingest.sources`).
"""

from __future__ import annotations

from typing import Annotated

from pipeline.config.kinds import InstalledKinds
from pipeline.config.sources.base import SourceSpec
from pipeline.config.sources.files import FilesSource
from pipeline.config.sources.timestamps import TimeStamps

__all__ = ["AnySource", "FilesSource", "SourceSpec", "TimeStamps"]

AnySource = Annotated[SourceSpec, InstalledKinds("nightcast.source_specs")]
