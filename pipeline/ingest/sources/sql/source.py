"""The `sql` source: query results of a database, each stored as one Parquet payload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from pydantic import SecretStr

from pipeline.config import Feed, TimeStamps
from pipeline.config.sources.sql import SqlSource
from pipeline.errors import ConfigError, ContractError, SourceError
from pipeline.ingest.decoding.known_at import split_known
from pipeline.ingest.decoding.layouts import decode_table
from pipeline.ingest.decoding.parquet import from_parquet, to_parquet
from pipeline.ingest.decoding.rows import require_columns
from pipeline.ingest.decoding.timestamp_parsing import Times
from pipeline.ingest.decoding.timestamps import read_valid_times
from pipeline.ingest.sources.base import About, Decoded, Payload, secret
from pipeline.ingest.sources.sql.database import Database, TooMuchError, limited
from pipeline.ingest.sources.sql.results import as_table
from pipeline.ingest.sources.sql.time_ranges import FIRST, LAST, TimeRange, bounds, split_range
from pipeline.locations import Locations
from pipeline.steps import longest
from pipeline.times import as_datetime

_DAY = timedelta(days=1)


class Sql:
    """Query a database for the rows of a feed.

    Raises:
        ConfigError: a covariate has no known_at column.
    """

    def __init__(self, feed: Feed, spec: SqlSource, locations: Locations, secrets: Mapping[str, SecretStr]) -> None:
        self._feed, self._spec, self._locations, self._secrets = feed, spec, locations, secrets
        if feed.is_covariate and not spec.known_at:
            problem = "missing, and covariates need the time at which rows became known"
            raise ConfigError(feed.title, "source.known_at", problem, "name the column")

    @property
    def about(self) -> About:
        """Properties of the source: requested by time range, with a password if there is one."""
        return About(supports_time_range=True, secrets=(self._spec.password,) if self._spec.password else ())

    def fetch(self, since: datetime | None, until: datetime | None, *, at: datetime) -> Iterator[Payload | SourceError]:
        """Yield the results for the valid times in [since, until], one per chunk; equal results give equal bytes.

        If a bound is None, the extent of the data is queried first. Chunks without rows give no payload.

        Raises:
            SourceError: the database cannot be reached, or the query fails.
            ConfigError: the password is not set, or the package for the database is not installed.
        """
        spec = self._spec
        password = secret(self._secrets, spec.password, self._feed) if spec.password else ""
        database = Database(
            spec.url,
            self._feed.folder,
            owner=self._feed.title,
            zone=spec.time.zone,
            timeout=spec.timeout,
            password=password,
        )
        extent = self._extent(database, since, until)
        for stamps in split_range(spec, database.backend, self._feed.step, *extent) if extent else ():
            try:
                table = self._query(database, stamps)
            except TooMuchError as error:
                yield SourceError(f"{error} (time stamps {stamps})")
                continue
            if table.num_rows:
                yield Payload.of(f"{database.name} {stamps}", to_parquet(table))

    def decode(self, payload: Payload) -> Decoded:
        """Return the rows of a result; rows without a valid known_at are refused if the feed needs it.

        Raises:
            SourceError: the payload is truncated, or contains an impossible time.
            NoDataError: the payload is empty.
            ContractError: its columns do not match the product.
        """
        table = from_parquet(payload)
        try:
            if not self._spec.known_at:
                return decode_table(table, self._feed, self._spec, self._locations)
            return self._decode_known(table)
        except ContractError as error:
            raise ContractError(f"{payload.name}: {error}") from error
        except pa.ArrowInvalid as error:  # a typed column contains an impossible time or number
            raise SourceError(f"{payload.name}: {error}") from error

    def _decode_known(self, table: pa.Table) -> Decoded:
        name = self._spec.known_at
        require_columns(table, (name,))
        table, known, refused = split_known(table, name, _time_stamps(table, name, self._spec.time.zone))
        table = table.drop_columns([name]) if self._spec.layout == "wide" else table
        decoded = decode_table(table, self._feed, self._spec, self._locations, known=known)
        return replace(decoded, refused=pa.concat_tables([decoded.refused, refused]))

    def _query(self, database: Database, stamps: TimeRange) -> pa.Table:
        spec = self._spec
        with database.rows(spec.query, bounds(spec, database.backend, stamps)) as (names, batches):
            for name in names:
                if names.count(name) > 1:
                    problem = f"two columns of the result are named '{name}'"
                    raise ConfigError(self._feed.title, "source.query", problem, "rename one with AS")
            order = [name for name in (*spec.time.columns, spec.location, spec.variable, spec.known_at) if name]
            return as_table(names, limited(batches, spec.max_rows, database.name), order)

    def _extent(
        self, database: Database, since: datetime | None, until: datetime | None
    ) -> tuple[datetime, datetime] | None:
        """Return the time range, with open bounds replaced by the extent of the data; None if there is no data."""
        if since and until:
            return since, until
        spec, name = self._spec, self._spec.time.columns[0]
        if len(spec.time.columns) > 1 and (spec.time.format or len(spec.time.columns) > 2):
            problem = "cannot find the first row if time stamps are in several columns of numbers or text"
            raise ConfigError(self._feed.title, "feed.history", problem, "set it, e.g. history: 5y")
        given = bounds(spec, database.backend, TimeRange(since or FIRST, until or LAST))
        extent = database.extent(spec.query, name, given)
        if None in extent:
            return None
        times = _stamps(as_table([name], [[(value,) for value in extent]], ()), name, spec.time.zone, spec.time.format)
        if np.isnat(times).any():
            problem = f"the values of '{name}' range from {extent[0]!r} to {extent[1]!r}, which are not time stamps"
            raise SourceError(f"{database.name}: {problem}")
        first, last = (as_datetime(time) for time in times)
        return since or first, until or last + longest(self._feed.step) + _DAY  # a date covers all its hours


def _stamps(table: pa.Table, name: str, zone: str, form: str = "") -> Times:
    """Return the UTC times of a column; NaT for invalid cells."""
    kind = table.schema.field(name).type
    if pa.types.is_null(kind):
        return np.full(len(table), np.datetime64("NaT", "us"))
    return read_valid_times(table, _time_stamps(table, name, zone, form), _DAY).valid_time


def _time_stamps(table: pa.Table, name: str, zone: str, form: str = "") -> TimeStamps:
    """Return how a column writes time stamps; numbers are seconds since 1970."""
    kind = table.schema.field(name).type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return TimeStamps(columns=(name,), zone=zone, format=form or ("%s" if number else ""))
