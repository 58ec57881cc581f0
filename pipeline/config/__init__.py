"""Product files and settings: their fields, validation, and one-line descriptions of mistakes."""

from pathlib import Path

from pipeline.config.document import load
from pipeline.config.feed import Feed, Grid, Stations
from pipeline.config.product import Product
from pipeline.config.settings import Settings, settings
from pipeline.config.sources import FilesSource, SourceSpec, TimeStamps

__all__ = [
    "Feed",
    "FilesSource",
    "Grid",
    "Product",
    "Settings",
    "SourceSpec",
    "Stations",
    "TimeStamps",
    "load_product",
    "settings",
]


def load_product(path: Path) -> Product:
    """Return the product that a file describes.

    Raises:
        ConfigError: the first mistake in it, with file, line, field and how to correct it.
    """
    return load(path, Product).within(path.parent.resolve())
