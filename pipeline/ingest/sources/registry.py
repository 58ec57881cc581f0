"""The installed sources by kind, found through entry points so that other packages can add their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import SecretStr

from pipeline.config import Feed
from pipeline.errors import ConfigError
from pipeline.ingest.sources.base import Source
from pipeline.locations import Locations

GROUP = "nightcast.sources"
Opener = Callable[[Feed, Any, Locations, Mapping[str, SecretStr]], Source]


def open_source(feed: Feed, locations: Locations, secrets: Mapping[str, SecretStr] | None = None) -> Source:
    """Return the source of a feed, ready to fetch.

    Raises:
        ConfigError: no source of this kind is installed, a secret is not set, or the source cannot read this feed.
    """
    openers = _openers()
    if feed.source.kind not in openers:
        known = ", ".join(sorted(openers))
        raise ConfigError(
            feed.title, "feed.source.kind", f"no source of kind '{feed.source.kind}' is installed", f"known: {known}"
        )
    opener: Opener = openers[feed.source.kind].load()
    return opener(feed, feed.source, locations, secrets or {})


@cache
def _openers() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
