"""Which source reads which kind of feed: found through entry points, so that other packages can add theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pydantic import SecretStr

from pipeline.config import Feed
from pipeline.errors import ConfigError
from pipeline.ingest.sources.base import Source
from pipeline.locations import Locations

GROUP = "nightcast.sources"
Opener = Callable[[Feed, Any, Locations, Mapping[str, SecretStr]], Source]


def open_source(feed: Feed, locations: Locations, secrets: Mapping[str, SecretStr] | None = None) -> Source:
    """Return the source that a feed names.

    Raises:
        ConfigError: the source of this kind is not installed, lacks a secret, or cannot read such a feed.
    """
    openers = _openers()
    if feed.source.kind not in openers:
        known = ", ".join(sorted(openers))
        raise ConfigError(feed.title, "feed.source.kind", f"'{feed.source.kind}' has no reader", f"known: {known}")
    return openers[feed.source.kind](feed, feed.source, locations, secrets or {})


@cache
def _openers() -> dict[str, Opener]:
    return {entry.name: entry.load() for entry in entry_points(group=GROUP)}
