"""The `files` source in a product file: which files, and how they are read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import Strict
from pipeline.config.sources.base import SourceSpec, TimeLabel
from pipeline.config.sources.timestamps import TimeStamps

Format = Literal["csv", "parquet", "netcdf", "zarr", "grib", "npz"]
GRIDDED = ("netcdf", "zarr", "grib", "npz")


class Csv(Strict):
    """The dialect of CSV files."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """One character between cells; "\\t" for a tab."""
    quote: Annotated[str, Field(max_length=1)] = '"'
    """Character around cells that hold the delimiter; empty for none."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of numbers."""
    encoding: str = "utf-8"
    """Encoding of the text, e.g. utf-8, latin-1, cp1252, utf-16."""
    skip: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Lines before the header."""
    comment: Annotated[str, Field(max_length=4)] = ""
    """Lines that begin with this are left out; empty for none."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
        except LookupError:
            raise ValueError(f"{encoding!r} is no encoding of text; use e.g. utf-8, latin-1, cp1252") from None
        return encoding

    @field_validator("delimiter", "quote", "comment")
    @classmethod
    def _plain(cls, mark: str) -> str:
        if not mark.isascii() or set(mark) & set("\r\n\0"):
            raise ValueError(f"{mark!r} cannot be read; use a plain character such as , ; | or a tab")
        return mark


class GridFile(Strict):
    """How files of arrays name what they hold; what a file says by CF conventions need not be said again."""

    time: str = "time"
    """Coordinate, or array, of the time stamps. One with the CF standard name is found under any name."""
    latitude: str = "latitude"
    """Coordinate of rows, degrees. `lat`, and one with the CF standard name, units or axis, is found too."""
    longitude: str = "longitude"
    """Coordinate of columns, degrees, -180 to 180 or 0 to 360. `lon`, and one with the CF standard name, units or
    axis, is found too."""
    station: str = ""
    """Dimension of stations where the file holds series instead of a grid. Its coordinate, or the variable with
    cf_role timeseries_id, holds the ids."""
    select: dict[str, int | float | str] = {}
    """One value of each further dimension that has several, e.g. {level: 850}; where it has no coordinate, a place
    from 0."""
    by_position: bool = False
    """The first cell of the file is the first of the product, and so on: for files without coordinates on the globe."""
    every: Annotated[int, Field(ge=1)] = 1
    """With by_position, take only every k-th row and column, from the first one on."""
    scale: dict[str, float] = {}
    """Factor by array name, where the file does not carry scale_factor itself."""

    @model_validator(mode="after")
    def _thins(self) -> GridFile:
        if self.every > 1 and not self.by_position:
            raise ValueError("every: goes with by_position; cells with coordinates are thinned by feed.locations")
        return self


class FilesSource(SourceSpec):
    """Files on disk or in an object store, taken in once each by content."""

    kind: Literal["files"]
    path: str
    """File or glob; relative to the product file, package:NAME/path inside an installed Python package, or
    s3://bucket/key."""
    format: Format
    """How the bytes of a payload are read."""
    compression: Literal["none", "gzip", "bz2", "xz", "zstd"] = "none"
    """Compression around the whole file."""
    layout: Literal["wide", "long", "tidy"] = "long"
    """long: a row per time and location, a column per variable. wide: a column per location, one variable. tidy: a row
    per time, location and variable."""
    csv: Csv = Csv()
    time: TimeStamps = TimeStamps()
    location: str | None = "location"
    """Column with the location id, in a long or tidy layout; null where the feed has one station and no such column."""
    variable: str = "variable"
    """Column that names the variable, in a tidy layout."""
    value: str = "value"
    """Column with the value, in a tidy layout."""
    known_at: str = ""
    """Column of a table that says when a row became known, written as the time column is; empty: rows became known as
    the feed says. Tables of covariates must have it. Files of arrays tell it by a coordinate of standard name
    forecast_reference_time, to which the delay of the feed is added."""
    ignore: tuple[str, ...] = ()
    """Columns of a wide payload that are no locations; stations of a file of arrays that are left out."""
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null")
    """Texts that mean no value; a number, such as -9999, also where the column holds numbers."""
    grid: GridFile = GridFile()
    """How netcdf, zarr, grib and npz files are read."""
    max_bytes: Annotated[int, Field(ge=1)] = 2**28
    """Largest payload that is read, before and after decompression."""
    extra: str = ""
    """Optional dependency of Nightcast that brings the package of a package: path."""

    @field_validator("csv")
    @classmethod
    def _apart(cls, csv: Csv) -> Csv:
        if csv.delimiter == csv.decimal:
            raise ValueError(f"delimiter and decimal mark are both '{csv.delimiter}'; they must differ")
        return csv

    @model_validator(mode="after")
    def _fits(self) -> FilesSource:
        if self.format in GRIDDED and self.layout != "long":
            raise ValueError(f"layout: '{self.layout}' is for tables, and format is {self.format}; leave it out")
        if self.format in GRIDDED and self.known_at:
            raise ValueError(f"known_at: '{self.known_at}' is for tables, and format is {self.format}; leave it out")
        return self

    @property
    def decimal(self) -> Literal[".", ","]:
        """Decimal mark of numbers that are text."""
        return self.csv.decimal

    @property
    def time_label(self) -> TimeLabel:
        """Which end of its period a stamp of the files marks."""
        return self.time.label

    @property
    def needs(self) -> str:
        """Optional dependency that brings the files."""
        return self.extra
