"""A read-only database: connections, time limits, and errors that reveal no secret."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, column, create_engine, func, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from pipeline.errors import ConfigError, SourceError
from pipeline.ingest.sources.sql.time_ranges import Bound

Rows = Sequence[Sequence[Any]]

_ROWS = 20_000  # fetched at once from the server
_CANCELLED = "57014"  # SQLSTATE query_canceled
_STEPS = 10_000  # instructions of SQLite between two checks of the time limit


class TooMuchError(SourceError):
    """A query takes too long or returns too many rows; a shorter time range may help."""


class Database:
    """A database that SQLAlchemy supports.

    `zone` is the time zone of its time stamps without an offset; PostgreSQL compares them accordingly. On PostgreSQL
    and SQLite, transactions are read-only, and connecting and statements have a time limit. Other databases rely on
    the permissions of the account.

    Raises:
        ConfigError: the URL is invalid, or the package that it needs is not installed.
    """

    def __init__(
        self, url: str, folder: Path, *, owner: str, zone: str, timeout: timedelta, password: str = ""
    ) -> None:
        self._owner, self._zone, self._timeout, self._password = owner, zone, timeout, password
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise self._config_error(
                "not a valid URL", "write e.g. postgresql+psycopg://reader@host/database"
            ) from None
        self.backend = parsed.get_backend_name()
        self.name = _shown(parsed)
        """Name of the database in messages, without user and password."""
        self._engine = self._open(parsed, folder)

    def extent(self, query: str, name: str, bounds: Mapping[str, Bound]) -> tuple[Any, Any]:
        """Return the smallest and the largest value of a column of the result; None for an empty result.

        Raises:
            SourceError: the database cannot be reached, or the query fails.
        """
        result = text(query.rstrip("; \n")).columns(column(name)).subquery("result")
        values = result.c[name]
        with self._connection() as connection:
            first, last = connection.execute(select(func.min(values), func.max(values)), bounds).one()
        return first, last

    @contextmanager
    def rows(self, query: str, bounds: Mapping[str, Bound]) -> Iterator[tuple[tuple[str, ...], Iterator[Rows]]]:
        """Yield the column names of the result, and its rows in batches, streamed from the server.

        Raises:
            SourceError: the database cannot be reached, or the query fails.
        """
        with self._connection() as connection:
            streaming = connection.execution_options(yield_per=_ROWS)
            result = streaming.execute(text(query.rstrip("; \n")), bounds)
            yield tuple(result.keys()), iter(result.partitions())

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            connection = self._engine.connect()
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise SourceError(f"{self.name}: cannot connect, {self._message(error)}") from None
        try:
            with connection:
                if self.backend == "postgresql":
                    limit = f"{round(self._timeout.total_seconds() * 1000)}"
                    for name, value in (("statement_timeout", limit), ("TimeZone", self._zone)):
                        connection.execute(select(func.set_config(name, value, True)))
                yield connection
        except SQLAlchemyError as error:
            if self._took_too_long(error):
                problem = f"the query took longer than {self._timeout.total_seconds():g} s"
                remedy = "shorten feed.source.chunk or increase timeout"
                raise TooMuchError(f"{self.name}: {problem}; {remedy}") from None
            raise SourceError(f"{self.name}: the query failed, {self._message(error)}") from None

    def _open(self, url: URL, folder: Path) -> Engine:
        options: dict[str, Any] = {"poolclass": NullPool}
        if self.backend == "sqlite":
            if url.database in (None, "", ":memory:"):
                raise self._config_error("the URL has no file name", "write e.g. sqlite:///observations.db")
            path = (folder / str(url.database)).absolute()
            options["creator"] = lambda: self._open_file(path)
        elif self.backend == "postgresql":
            if "+" not in url.drivername:
                url = url.set(drivername="postgresql+psycopg")
            options["execution_options"] = {"postgresql_readonly": True}
            if url.get_driver_name() in ("psycopg", "psycopg2"):
                options["connect_args"] = {"connect_timeout": max(2, int(self._timeout.total_seconds()))}
        if self._password:
            url = url.set(password=self._password)
        try:
            return create_engine(url, **options)
        except NoSuchModuleError:
            raise self._config_error(f"SQLAlchemy does not support '{url.drivername}'", "install its dialect") from None
        except ImportError as error:
            package = error.name or url.get_driver_name()
            extra = package == "psycopg" or self.backend == "postgresql"
            remedy = (
                "write postgresql+psycopg:// and pip install 'nightcast[postgres]'" if extra else f"install {package}"
            )
            raise self._config_error(f"the Python package {package} is not installed", remedy) from None

    def _open_file(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        deadline = time.monotonic() + self._timeout.total_seconds()
        connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS)
        return connection

    def _took_too_long(self, error: SQLAlchemyError) -> bool:
        cause = error.orig if isinstance(error, DBAPIError) else None
        return getattr(cause, "sqlstate", None) == _CANCELLED or str(cause) == "interrupted"

    def _message(self, error: BaseException) -> str:
        """Return the message of a driver in one line, without the password."""
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        line = " ".join(lines[0].split())[:300]
        return line.replace(self._password, "***") if self._password else line

    def _config_error(self, problem: str, remedy: str) -> ConfigError:
        return ConfigError(self._owner, "source.url", problem, remedy)


def limited(batches: Iterable[Rows], most: int, name: str) -> Iterator[Rows]:
    """Yield the batches up to a total of `most` rows.

    Raises:
        TooMuchError: there are more.
    """
    count = 0
    for rows in batches:
        count += len(rows)
        if count > most:
            raise TooMuchError(f"{name}: more than {most:,} rows; shorten feed.source.chunk or increase max_rows")
        yield rows


def _shown(url: URL) -> str:
    plain = URL.create(url.get_backend_name(), host=url.host, port=url.port, database=url.database)
    return plain.render_as_string()
