"""The `files` source in a product file: which files, and how to read them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import Strict
from pipeline.config.sources.base import SourceSpec, TimeLabel
from pipeline.config.sources.timestamps import TimeStamps
from pipeline.errors import InvalidValueError

Format = Literal["csv", "parquet", "netcdf", "zarr", "grib", "npz"]
GRIDDED = ("netcdf", "zarr", "grib", "npz")


class Csv(Strict):
    """The dialect of CSV files."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Character between cells; "\\t" for a tab."""
    quote: Annotated[str, Field(max_length=1)] = '"'
    """Character that encloses cells containing the delimiter; empty for none."""
    decimal: Literal[".", ","] = "."
    """Decimal mark."""
    encoding: str = "utf-8"
    """Text encoding, e.g. utf-8, latin-1, cp1252, utf-16."""
    skip: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Number of lines before the header."""
    comment: Annotated[str, Field(max_length=4)] = ""
    """Lines that start with this text are ignored; empty for none."""

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
        except LookupError:
            raise InvalidValueError(
                f"{encoding!r} is not a known text encoding", "use e.g. utf-8, latin-1, cp1252"
            ) from None
        return encoding

    @field_validator("delimiter", "quote", "comment")
    @classmethod
    def _check_mark(cls, mark: str) -> str:
        if not mark.isascii() or set(mark) & set("\r\n\0"):
            raise InvalidValueError(f"{mark!r} is not supported", "use an ASCII character such as , ; | or a tab")
        return mark


class GridFile(Strict):
    """How files of arrays name their coordinates. Whatever a file declares by CF conventions needs no entry here."""

    time: str = "time"
    """Time coordinate or array. A coordinate with the CF standard name is found whatever it is called."""
    latitude: str = "latitude"
    """Coordinate of the rows, degrees north. `lat`, and a coordinate with the CF standard name, units or axis, is also
    found."""
    longitude: str = "longitude"
    """Coordinate of the columns, degrees east, -180 to 180 or 0 to 360. `lon`, and a coordinate with the CF standard
    name, units or axis, is also found."""
    station: str = ""
    """Station dimension, if the file holds time series instead of a grid. The ids come from its coordinate, or from the
    variable with cf_role timeseries_id."""
    select: dict[str, int | float | str] = {}
    """Value to select along each further dimension that is longer than one, e.g. {level: 850}; a position counted from
    0 where the dimension has no coordinate."""
    by_position: bool = False
    """Match cells by position instead of by coordinates: the first cell of the file is the first cell of the feed, and
    so on. For files without geographic coordinates."""
    every: Annotated[int, Field(ge=1)] = 1
    """With by_position: use only every n-th row and column, starting with the first."""
    scale: dict[str, float] = {}
    """Scale factor by array name, where the file has no scale_factor attribute."""

    @model_validator(mode="after")
    def _check_every(self) -> Self:
        if self.every > 1 and not self.by_position:
            raise InvalidValueError(
                "only works with by_position", "to thin out cells with coordinates, use feed.locations", field="every"
            )
        return self


class FilesSource(SourceSpec):
    """Files on disk or in an object store. Each file is ingested once, identified by its content."""

    kind: Literal["files"]
    path: str
    """File or glob pattern: relative to the product file, package:NAME/path in an installed Python package, or
    s3://bucket/key."""
    format: Format
    """File format."""
    compression: Literal["none", "gzip", "bz2", "xz", "zstd"] = "none"
    """Compression of the whole file."""
    layout: Literal["wide", "long", "tidy"] = "long"
    """long: one row per time and location, one column per variable. wide: one column per location, a single variable.
    tidy: one row per time, location and variable."""
    csv: Csv = Csv()
    """Dialect of csv files."""
    time: TimeStamps = TimeStamps()
    """How time stamps are written."""
    location: str | None = "location"
    """Column with the location id, in a long or tidy layout; null if the feed has one station and the files have no
    such column."""
    variable: str = "variable"
    """Column with the variable name, in a tidy layout."""
    value: str = "value"
    """Column with the value, in a tidy layout."""
    known_at: str = ""
    """Column with the time at which a row became known, in the format of the time column. Empty: it is derived from the
    feed's delay. Required for tables of covariates. In files of arrays, known_at is the coordinate with the standard
    name forecast_reference_time plus the feed's delay."""
    ignore: tuple[str, ...] = ()
    """Columns of a wide table that are not locations, or stations of a file of arrays, to leave out."""
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null")
    """Texts that stand for a missing value. A number such as -9999 also matches in numeric columns."""
    grid: GridFile = GridFile()
    """How netcdf, zarr, grib and npz files are read."""
    max_bytes: Annotated[int, Field(ge=1)] = 2**28
    """Size limit of a payload in bytes, before and after decompression."""
    extra: str = ""
    """Optional dependency of Nightcast that installs the package of a package: path."""

    @field_validator("csv")
    @classmethod
    def _check_csv(cls, csv: Csv) -> Csv:
        if csv.delimiter == csv.decimal:
            raise InvalidValueError(f"delimiter and decimal mark are both '{csv.delimiter}'", "they must differ")
        return csv

    @model_validator(mode="after")
    def _check_format(self) -> Self:
        for field, given in (("layout", self.layout != "long"), ("known_at", self.known_at)):
            if self.format in GRIDDED and given:
                problem = f"'{getattr(self, field)}' is for tables, and format is {self.format}"
                raise InvalidValueError(problem, "leave it out", field=field)
        return self

    @property
    def decimal(self) -> Literal[".", ","]:
        """Decimal mark of numbers that are text."""
        return self.csv.decimal

    @property
    def time_label(self) -> TimeLabel:
        """Whether the time stamps of the files mark the start or the end of a period."""
        return self.time.label

    @property
    def needs(self) -> str:
        """Optional dependency that installs the package of the path."""
        return self.extra
