"""How payloads are found and read: the source part of a product file."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipeline.config.base import Duration, Strict
from pipeline.names import check_zone


class TimeStamps(Strict):
    """How the payload writes time, and how that becomes a UTC valid_time."""

    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] = ("time",)
    """One column with the whole stamp, or a date column and a column whose text begins with the hour."""
    zone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    """IANA zone of stamps without an offset. A doubled autumn hour is read as the first; an hour that spring
    skipped is refused."""
    label: Literal["start", "end"] = "end"
    """Which end of its period a stamp marks. valid_time is always the end, the instant from which a value can be known;
    an instantaneous value is its own end."""
    day_starts: Duration = timedelta(0)
    """Clock time at which a labelled day begins: with 6h, hours 0 to 5 belong to the calendar day after their label."""


class FilesSource(Strict):
    """Files on disk, taken in once each by content."""

    kind: Literal["files"]
    path: str
    """File or glob; relative to the product file, or package:NAME/path inside an installed Python package."""
    format: Literal["csv", "parquet"]
    """How the bytes of a payload are read."""
    layout: Literal["wide", "long"] = "long"
    """long: one row per time and location. wide: one column per location, one variable."""
    time: TimeStamps = TimeStamps()
    location: str = "location"
    """Column with the location id, in a long layout."""
    ignore: tuple[str, ...] = ()
    """Columns of a wide payload that are no locations."""
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null")
    """Texts that mean no value."""
    extra: str = ""
    """Optional dependency of Nightcast that brings the package of a package: path."""
