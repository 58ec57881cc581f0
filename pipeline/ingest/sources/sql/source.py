"""The `sql` source: the answers of a database, each kept as one Parquet payload."""

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
from pipeline.ingest.decoding.rows import require
from pipeline.ingest.decoding.timestamp_parsing import Times
from pipeline.ingest.decoding.timestamps import read_stamps
from pipeline.ingest.sources.base import About, Decoded, Payload, secret
from pipeline.ingest.sources.sql.answers import as_table
from pipeline.ingest.sources.sql.database import Database, TooMuchError, limited
from pipeline.ingest.sources.sql.windows import FIRST, LAST, Window, bounds, windows
from pipeline.locations import Locations
from pipeline.times import as_datetime

_DAY = timedelta(days=1)


class Sql:
    """Asks a database for the rows of a feed.

    Raises:
        ConfigError: a covariate has no column that says when a row became known.
    """

    def __init__(self, feed: Feed, spec: SqlSource, locations: Locations, secrets: Mapping[str, SecretStr]) -> None:
        self._feed, self._spec, self._locations, self._secrets = feed, spec, locations, secrets
        if feed.is_covariate and not spec.known_at:
            problem = "missing, and rows of covariates say when they became known"
            raise ConfigError(feed.title, "source.known_at", problem, "name the column that tells")

    @property
    def about(self) -> About:
        """It is asked by time, and needs its password."""
        return About(windowed=True, secrets=(self._spec.password,) if self._spec.password else ())

    def fetch(self, since: datetime | None, until: datetime | None, *, at: datetime) -> Iterator[Payload | SourceError]:
        """Yield the answers for the valid times in [since, until], a payload a chunk; equal answers have equal bytes.

        Where the window is open, the database is asked first how far its rows reach. A chunk without rows gives no
        payload, and a window without any gives an error.

        Raises:
            SourceError: the database cannot be reached, or refuses the query.
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
        reach = self._reach(database, since, until)
        for window in windows(spec, database.backend, self._feed.step, *reach) if reach else ():
            try:
                table = self._ask(database, window)
            except TooMuchError as error:
                yield SourceError(f"{error} (stamps from {window})")
                continue
            if table.num_rows:
                yield Payload.of(f"{database.name} {window}", to_parquet(table))

    def decode(self, payload: Payload) -> Decoded:
        """Return the rows of an answer; those that do not say when they became known, where they must, are refused.

        Raises:
            SourceError: the payload is torn, or holds a time that cannot be.
            NoDataError: it is empty.
            ContractError: its columns are not those of the product.
        """
        table = from_parquet(payload)
        try:
            if not self._spec.known_at:
                return decode_table(table, self._feed, self._spec, self._locations)
            return self._decode_known(table)
        except ContractError as error:
            raise ContractError(f"{payload.name}: {error}") from error
        except pa.ArrowInvalid as error:  # a typed column holds what no time or number can be
            raise SourceError(f"{payload.name}: {error}") from error

    def _decode_known(self, table: pa.Table) -> Decoded:
        name = self._spec.known_at
        require(table, (name,))
        table, known, refused = split_known(table, name, _written(table, name, self._spec.time.zone))
        table = table.drop_columns([name]) if self._spec.layout == "wide" else table
        decoded = decode_table(table, self._feed, self._spec, self._locations, known=known)
        return replace(decoded, refused=pa.concat_tables([decoded.refused, refused]))

    def _ask(self, database: Database, window: Window) -> pa.Table:
        spec = self._spec
        with database.rows(spec.query, bounds(spec, database.backend, window)) as (names, batches):
            for name in names:
                if names.count(name) > 1:
                    problem = f"two columns of its answer are called '{name}'"
                    raise ConfigError(self._feed.title, "source.query", problem, "tell them apart with AS")
            order = [name for name in (*spec.time.columns, spec.location, spec.variable, spec.known_at) if name]
            return as_table(names, limited(batches, spec.max_rows, database.name), order)

    def _reach(
        self, database: Database, since: datetime | None, until: datetime | None
    ) -> tuple[datetime, datetime] | None:
        """Return the window, the open side of it as far as there are rows; None where there are none."""
        if since and until:
            return since, until
        spec, name = self._spec, self._spec.time.columns[0]
        if len(spec.time.columns) > 1 and (spec.time.format or len(spec.time.columns) > 2):
            problem = "the first rows cannot be looked up where stamps are in several columns of numbers or text"
            raise ConfigError(self._feed.title, "feed.history", problem, "say how far back to ask, e.g. history: 5y")
        given = bounds(spec, database.backend, Window(since or FIRST, until or LAST))
        extent = database.extent(spec.query, name, given)
        if None in extent:
            return None
        times = _stamps(as_table([name], [[(value,) for value in extent]], ()), name, spec.time.zone, spec.time.format)
        if np.isnat(times).any():
            problem = f"the values of '{name}' reach from {extent[0]!r} to {extent[1]!r}, which are no time stamps"
            raise SourceError(f"{database.name}: {problem}")
        first, last = (as_datetime(time) for time in times)
        return since or first, until or last + self._feed.step + _DAY  # a date stands for all its hours


def _stamps(table: pa.Table, name: str, zone: str, form: str = "") -> Times:
    """Return the UTC instants of a column; NaT where a cell is none."""
    kind = table.schema.field(name).type
    if pa.types.is_null(kind):
        return np.full(len(table), np.datetime64("NaT", "us"))
    return read_stamps(table, _written(table, name, zone, form), _DAY).valid_time


def _written(table: pa.Table, name: str, zone: str, form: str = "") -> TimeStamps:
    """Return how a column writes instants; numbers count seconds."""
    kind = table.schema.field(name).type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return TimeStamps(columns=(name,), zone=zone, format=form or ("%s" if number else ""))
