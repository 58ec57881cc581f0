"""Which source reads which kind of feed."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config import Product
from pipeline.locations import Locations
from pipeline.sources.base import Source
from pipeline.sources.files import Files

_KINDS: dict[str, Callable[[Product, Locations], Source]] = {"files": Files}


def open_source(product: Product, locations: Locations) -> Source:
    """Return the source that a product's feed names."""
    return _KINDS[product.feed.source.kind](product, locations)
