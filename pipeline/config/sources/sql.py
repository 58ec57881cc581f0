"""The `sql` source in a product file: which database, which query, and how to read the result."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field

from pipeline.config.base import Duration
from pipeline.config.sources.base import SourceSpec, TimeLabel
from pipeline.config.sources.timestamps import TimeStamps
from pipeline.errors import InvalidValueError

_BOUND = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")  # the pattern SQLAlchemy uses
_BOUNDS = ("since", "until")
_EXAMPLE = "write e.g. postgresql+psycopg://reader@host/database"


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        given = parts.password or any("pass" in name.lower() for name, _ in parse_qsl(parts.query))
    except ValueError:
        raise InvalidValueError("not a valid URL", _EXAMPLE) from None
    if given:
        raise InvalidValueError("contains a password", "store it as a secret and name the secret in password")
    if not parts.scheme or "://" not in url:
        raise InvalidValueError("not a valid URL", _EXAMPLE)
    return url


def _check_query(query: str) -> str:
    found = set(_BOUND.findall(query))
    for name in _BOUNDS:
        if name not in found:
            raise InvalidValueError(
                f"':{name}' is missing", "limit the query in time: where time >= :since and time < :until"
            )
    if others := sorted(found - set(_BOUNDS)):
        raise InvalidValueError(
            f"':{others[0]}' is not a known parameter", "use :since and :until, and write \\: for a literal colon"
        )
    return query


def _check_length(span: timedelta) -> timedelta:
    if span < timedelta(seconds=1):
        raise InvalidValueError(f"{span.total_seconds():g} s is too short", "write e.g. 60s, 6h, 30d")
    return span


Positive = Annotated[Duration, AfterValidator(_check_length)]


class SqlSource(SourceSpec):
    """The result of a query on any database that SQLAlchemy supports. The transaction is read-only on PostgreSQL and
    SQLite."""

    kind: Literal["sql"]
    url: Annotated[str, AfterValidator(_check_url)]
    """SQLAlchemy URL without a password, e.g. postgresql+psycopg://reader@host/database. sqlite:///observations.db is a
    file next to the product file."""
    password: str = ""
    """Name of the secret that holds the password; empty if none is needed."""
    query: Annotated[str, AfterValidator(_check_query)]
    """One SELECT, limited in time by the parameters :since and :until: ``where time >= :since and time < :until``. They
    are passed in the form of the time column: as timestamps, or in time.format. SQLite has no timestamp type: there,
    and for time stamps in several columns, whole days in time.zone are queried, on SQLite as 2024-01-31."""
    chunk: Positive = timedelta(days=30)
    """Time range per query; each result is one payload."""
    timeout: Positive = timedelta(minutes=5)
    """Time limit for connecting, and for each statement (PostgreSQL, SQLite)."""
    max_rows: Annotated[int, Field(ge=1)] = 5_000_000
    """Maximum number of rows in a payload."""
    layout: Literal["wide", "long", "tidy"] = "long"
    """long: one row per time and location, one column per variable. wide: one column per location, a single variable.
    tidy: one row per time, location and variable."""
    time: TimeStamps = TimeStamps()
    """How time stamps are written."""
    location: str | None = "location"
    """Column with the location id, in a long or tidy layout; null if the feed has one station and the result has no
    such column."""
    variable: str = "variable"
    """Column with the variable name, in a tidy layout."""
    value: str = "value"
    """Column with the value, in a tidy layout."""
    known_at: str = ""
    """Column with the time at which a row became known, in time.zone if it has no offset. Empty: it is derived from the
    feed's delay. Required for covariates."""
    ignore: tuple[str, ...] = ()
    """Columns of a wide result that are not locations."""
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null")
    """Texts that stand for a missing value. A number such as -9999 also matches in numeric columns."""

    @property
    def decimal(self) -> Literal[".", ","]:
        """Decimal mark of numbers that are stored as text."""
        return "."

    @property
    def time_label(self) -> TimeLabel:
        """Whether a time stamp marks the start or the end of a period."""
        return self.time.label
