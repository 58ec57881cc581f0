"""The stations of a feed: opaque ids, names for people, coordinates in decimal degrees."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from pipeline.config.product import Product
from pipeline.errors import ConfigError
from pipeline.paths import resolve

_SEXAGESIMAL = re.compile(
    r"^\s*(?P<d>\d{1,3})\s*[d°]\s*(?:(?P<m>\d{1,2}(?:\.\d+)?)\s*['′]\s*)?(?:(?P<s>\d{1,2}(?:\.\d+)?)\s*[\"″]\s*)?"
    r"(?P<h>[NSEW])\s*$"
)


@dataclass(frozen=True, slots=True)
class Locations:
    """Stations in a fixed order; the arrays of a frame follow it."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    longitude: tuple[float, ...]
    """Degrees east, in [-180, 360)."""
    latitude: tuple[float, ...]
    """Degrees north."""

    def __len__(self) -> int:
        return len(self.ids)


def parse_angle(text: str) -> float:
    """Return decimal degrees, from text as in ``-8.25``, ``8d15'W`` or ``6d21'25.056"W``; south and west are negative.

    Raises:
        ValueError: the text is no angle.
    """
    match = _SEXAGESIMAL.match(text)
    if match is None:
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{text!r} is no coordinate; write -8.25 or 8d15'W") from None
    minutes, seconds = float(match["m"] or 0), float(match["s"] or 0)
    if minutes >= 60 or seconds >= 60:
        raise ValueError(f"{text!r} has minutes or seconds of 60 or more")
    degrees = float(match["d"]) + minutes / 60 + seconds / 3600
    return -degrees if match["h"] in "SW" else degrees


def read_locations(product: Product) -> Locations:
    """Return the stations of a product, in the order of their file.

    Raises:
        ConfigError: the file is missing, lacks a column, repeats an id or holds an unreadable coordinate.
    """
    spec = product.feed.locations
    path = resolve(str(spec.path), product.folder, extra=product.feed.source.extra)
    if not path.is_file():
        raise ConfigError(str(path), "", "no such file", "feed.locations.path names the CSV file of the stations")
    table = _read(path)
    for column in (spec.id, spec.name, spec.longitude, spec.latitude):
        if column not in table.columns:
            raise ConfigError(str(path), column, "no such column", f"it has {', '.join(table.columns)}")
    ids = table[spec.id]
    if ids.duplicated().any():
        raise ConfigError(str(path), spec.id, f"'{ids[ids.duplicated()].iloc[0]}' stands twice", "ids are unique")
    if (ids == "").any():
        raise ConfigError(str(path), spec.id, "a station has no id", "give it the one that observations use")
    if table.empty:
        raise ConfigError(str(path), "", "no station", "list at least one")
    return Locations(
        ids=tuple(ids),
        names=tuple(table[spec.name]),
        longitude=_angles(path, table, spec.longitude, spec.id, "longitude"),
        latitude=_angles(path, table, spec.latitude, spec.id, "latitude"),
    )


def _read(path: Path) -> pd.DataFrame:
    remedy = "write one line a station, in UTF-8, with as many cells as the header"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"not a readable CSV file, {str(error).strip()}", remedy) from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas would shift the columns
        raise ConfigError(str(path), "", "not a readable CSV file, it has more cells than its header", remedy)
    return table


def _angles(
    path: Path, table: pd.DataFrame, column: str, key: str, kind: Literal["longitude", "latitude"]
) -> tuple[float, ...]:
    low, high, sides = (-180.0, 360.0, "NS") if kind == "longitude" else (-90.0, 90.0, "EW")
    angles = []
    for station, text in zip(table[key], table[column], strict=True):
        try:
            angle = parse_angle(text)
        except ValueError as error:
            raise ConfigError(str(path), f"{station}.{column}", str(error)) from None
        if text.strip().endswith(tuple(sides)):
            raise ConfigError(str(path), f"{station}.{column}", f"{text!r} is no {kind}", "swap the two columns")
        if not low <= angle <= high or angle == 360.0:
            remedy = f"write {low:g} to {high:g} degrees"
            raise ConfigError(str(path), f"{station}.{column}", f"{angle} is off the globe", remedy)
        angles.append(angle)
    return tuple(angles)
