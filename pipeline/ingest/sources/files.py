"""The `files` source: files on disk or in an object store, each ingested once, identified by its content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec

import pyarrow as pa
from pydantic import SecretStr

from pipeline.config import Feed, FilesSource, Grid
from pipeline.config.sources.files import GRIDDED
from pipeline.errors import ConfigError, ContractError, SourceError, StoreError
from pipeline.ingest.decoding.cells import as_json
from pipeline.ingest.decoding.gridded import decode_gridded
from pipeline.ingest.decoding.known_at import split_known
from pipeline.ingest.decoding.layouts import decode_table
from pipeline.ingest.decoding.tables import read_table
from pipeline.ingest.sources.base import About, Decoded, Payload, refused_table
from pipeline.ingest.sources.listing import local_files
from pipeline.ingest.sources.objects import stored_files
from pipeline.locations import Locations


class Files:
    """Read the files of a feed in the order of their names.

    Raises:
        ConfigError: the format or layout does not suit the feed, a package is not installed, or a covariate has no
            known_at column.
    """

    about = About()

    def __init__(self, feed: Feed, spec: FilesSource, locations: Locations, secrets: Mapping[str, SecretStr]) -> None:
        self._feed, self._spec, self._locations = feed, spec, locations
        if spec.layout == "wide" and len(feed.variables) > 1:
            problem = f"wide holds one variable, and feed.variables has {len(feed.variables)}"
            raise ConfigError(feed.title, "feed.source.layout", problem, "use layout: long")
        if feed.is_covariate and spec.format not in GRIDDED and not spec.known_at:
            problem = "missing, and covariates need the time at which rows became known"
            remedy = "name the column, e.g. known_at: published"
            raise ConfigError(feed.title, "source.known_at", problem, remedy)
        if spec.format in GRIDDED and not spec.grid.station and not isinstance(feed.locations, Grid):
            problem = f"{spec.format} holds a grid, and feed.locations lists stations"
            remedy = "use kind: grid, or name the station dimension in feed.source.grid.station"
            raise ConfigError(feed.title, "feed.locations", problem, remedy)
        if spec.format == "grib" and find_spec("cfgrib") is None:
            remedy = "pip install 'nightcast[grib]'"
            raise ConfigError(feed.title, "feed.source.format", "the package for reading GRIB is not installed", remedy)

    def fetch(self, since: datetime | None, until: datetime | None, *, at: datetime) -> Iterator[Payload | SourceError]:
        """Yield the files, except those that are still being written, which are left for the next fetch.

        The times in a file are known only after decoding, so `since` and `until` have no effect.

        Raises:
            SourceError: no file matches, or the object store cannot be reached.
        """
        stored = self._spec.path.startswith("s3://")
        for found in stored_files(self._spec) if stored else local_files(self._spec, self._feed.folder):
            if found.size > self._spec.max_bytes:
                limit = f"more than feed.source.max_bytes, {self._spec.max_bytes}"
                yield SourceError(f"{found.where}: {found.size} bytes, {limit}")
                continue
            try:
                content = found.read()
            except OSError as error:
                yield SourceError(f"{found.where}: cannot be read, {error.strerror}")
                continue
            except StoreError as error:
                yield SourceError(str(error))
                continue
            if content is None:
                continue
            yield Payload.of(found.name, content)

    def decode(self, payload: Payload) -> Decoded:
        """Return the rows of a file.

        Raises:
            SourceError: the file is truncated or in another format.
            NoDataError: the file is empty.
            ContractError: its columns or coordinates do not match the product.
        """
        spec = self._spec
        if spec.format not in ("csv", "parquet"):
            return decode_gridded(payload, self._feed, spec, self._locations)
        table, ragged = read_table(
            payload, spec.format, csv=spec.csv, compression=spec.compression, max_bytes=spec.max_bytes
        )
        refused = refused_table(())
        try:
            known = None
            if spec.known_at:
                table, known, refused = split_known(table, spec.known_at, spec.time)
                if spec.layout == "wide" and spec.known_at not in spec.time.columns:
                    table = table.drop_columns([spec.known_at])  # it is not a station
            decoded = decode_table(table, self._feed, spec, self._locations, known=known)
        except ContractError as error:
            raise ContractError(f"{payload.name}: {error}") from error
        except pa.ArrowInvalid as error:  # a typed column contains an impossible time or number
            raise SourceError(f"{payload.name}: {error}") from error
        if not ragged and not len(refused):
            return decoded
        lines = refused_table((None, None, as_json({"line": text}), [reason]) for text, reason in ragged)
        return replace(decoded, refused=pa.concat_tables([decoded.refused, refused, lines]))
